/* SPDX-License-Identifier: GPL-2.0-or-later */
/* flow_avx2.c - rows and keys with AVX2 and what came with it: rows by shuffles of bytes. */
#include "recorder/encode/flow_kernel.h"

int flow_rows_avx2(struct flow_maker *m, const struct batch *batch, const struct ends_table *ends)
{
	return make_rows(m, batch, ends);
}
