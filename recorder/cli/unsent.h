/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unsent.h - spools of recordings that have ended: what their database did not take. For who looks for a recording and finds none. */
#ifndef XDP_RECORDER_CLI_UNSENT_H
#define XDP_RECORDER_CLI_UNSENT_H

/* A line on stderr for the default spool of this instance (NULL: of each) that holds something: how much, where, and who sends it. */
void unsent_tell(const char *instance);

#endif
