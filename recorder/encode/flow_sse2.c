/* SPDX-License-Identifier: GPL-2.0-or-later */
/* flow_sse2.c - rows and keys what each processor has. */
#include "recorder/encode/flow_kernel.h"

int flow_rows_sse2(struct flow_maker *m, const struct batch *batch, const struct ends_table *ends)
{
	return make_rows(m, batch, ends);
}
