/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef RECORDER_DB_COUNTERS_H
#define RECORDER_DB_COUNTERS_H

/*
 * libmongoc's counters in shared memory, which nobody reads here.
 *
 * A constructor of the library, so before main(), makes /dev/shm/mongoc-PID, which is removed at exit: not after a kill -9, and
 * not where the process is another user by then (/dev/shm is sticky). Left over, it makes any later process of that number
 * say "Falling back to malloc for counters." on stderr. Whoever links this file takes away what was left under its own
 * number before that constructor runs; where it may not, the constructor runs with stderr on /dev/null.
 */

/* Removes what the constructor made: the mapping stays without its name, and nothing can be left over. For main(). */
void counters_forget(void);

#endif
