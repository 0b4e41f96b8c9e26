/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The drainer process. It gets descriptors and nothing else: another uid, no capability, no way to gain one, and a fresh
 * address space by exec of the same file.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "recorder/core/log.h"
#include "recorder/core/util.h"
#include "recorder/process/keeper_internal.h"

#define LINK_FD 3
#define LOCK_FD 4
#define START_S 10 /* for a drainer to take one message */
#define HIGH_FD 10 /* above both */

int spawn_user(const char *name, uid_t *uid, gid_t *gid)
{
	struct passwd *entry;

	errno = 0;
	entry = getpwnam(name);
	if (!entry) {
		log_error("--user %s: there is no such user; name another, or make it by `useradd -r %s`", name, name);
		return -ENOENT;
	}
	*uid = entry->pw_uid;
	*gid = entry->pw_gid;
	return 0;
}

int spawn_control(const char *path, uid_t uid)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	mode_t mask;
	int err;

	if (strlen(path) >= sizeof(address.sun_path)) {
		log_error("the path of the status socket is too long: %s", path);
		return -ENAMETOOLONG;
	}
	strcpy(address.sun_path, path);
	unlink(path);
	mask = umask(0177);
	err = fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) ? -errno : 0;
	umask(mask);
	if (!err && chown(path, uid, (gid_t)-1))
		err = -errno;
	if (!err && listen(fd, 8))
		err = -errno;
	if (err) {
		log_error("the status socket %s cannot be made: %s", path, strerror(-err));
		return err;
	}
	return TAKE_FD(fd);
}

/* Everything that could give privilege back. */
int spawn_drop_privileges(uid_t uid, gid_t gid)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {{0}};

	if (geteuid() == 0) {
		for (int cap = 0; cap <= CAP_LAST_CAP; cap++)
			prctl(PR_CAPBSET_DROP, cap, 0, 0, 0); /* fails only for one this kernel does not know */
		if (setgroups(0, NULL) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid))
			return -errno;
	}
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) || syscall(SYS_capset, &header, none) ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	return 0;
}

/* Brings the two descriptors that survive exec to their places; the drainer keeps the lock open and never looks at it. */
static int place_descriptors(int link, int lock)
{
	int high_link = fcntl(link, F_DUPFD_CLOEXEC, HIGH_FD);
	int high_lock = fcntl(lock, F_DUPFD_CLOEXEC, HIGH_FD);

	if (high_link < 0 || high_lock < 0 || dup2(high_link, LINK_FD) < 0 || dup2(high_lock, LOCK_FD) < 0)
		return -errno;
	return 0;
}

/* Only _exit from here on: we are between fork and exec, and a second thread may have been there (warm.c): no lock of ours is taken. */
static void __attribute__((noreturn)) become_drainer(int link, int lock, uid_t uid, gid_t gid)
{
	sigset_t none;
	int err;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* Terminal signals are the keeper's business, and must not arrive before the drainer says so itself. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGUSR1, SIG_IGN);
	err = spawn_drop_privileges(uid, gid);
	if (!err)
		err = place_descriptors(link, lock);
	if (!err) {
		execl("/proc/self/exe", "xdp-recorder", "drainer", "3", (char *)NULL);
		err = -errno;
	}
	log_error("the drainer cannot be started: %s", strerror(-err));
	_exit(127);
}

static int send_settings(int link, const struct settings *settings)
{
	bson_t document = BSON_INITIALIZER;
	int err;

	settings_to_bson(settings, &document);
	err = link_send(link, LINK_SETTINGS, 0, bson_get_data(&document), document.len, -1);
	bson_destroy(&document);
	return err;
}

static int send_capture(int link, const struct capture *c, bool resumed, bool refiltered, const char *rebuilt)
{
	struct link_capture info = {
		.cpus = capture_cpus(c),
		.ring_size = capture_ring_size(c),
		.counting = capture_floods(c) == REC_FLOODS_ALL,
		.resumed = resumed,
		.refiltered = refiltered,
	};
	int err;

	memcpy(info.id, capture_id(c), CAPTURE_ID_LEN);
	snprintf(info.rebuilt, sizeof(info.rebuilt), "%s", rebuilt);
	capture_build_name(c, info.build);
	info.created = capture_seen(c)->created;
	info.netns = capture_netns(c);
	snprintf(info.iface, sizeof(info.iface), "%s", capture_iface(c));
	snprintf(info.filter, sizeof(info.filter), "%s", capture_filter(c));
	for (unsigned side = 0; side < REC_SIDES; side++)
		snprintf(info.mode[side], sizeof(info.mode[side]), "%s", capture_mode(c, side));
	err = link_send(link, LINK_CAPTURE, 0, &info, sizeof(info), -1);
	for (unsigned map = 0; !err && map < CAPTURE_MAPS; map++) {
		if (map == CAPTURE_POLICY || map == CAPTURE_OWN)
			continue; /* the drainer has no business with them */
		err = link_send(link, LINK_MAP, map, NULL, 0, capture_map_fd(c, map));
	}
	for (unsigned side = 0; !err && side < REC_SIDES; side++)
		for (unsigned cpu = 0; !err && cpu < info.cpus; cpu++)
			if (capture_ring_fd(c, side, cpu) >= 0)
				err = link_send(link, LINK_RING, side << 16 | cpu, NULL, 0,
						capture_ring_fd(c, side, cpu));
	return err;
}

int spawn_drainer(const struct settings *settings, const struct captures *captures, int control, int file, int spool, int lock,
		  const uint8_t sensor_id[16], bool again, pid_t *pid)
{
	int pair[2], err;
	uid_t uid;
	gid_t gid;

	err = spawn_user(settings->user, &uid, &gid);
	if (err)
		return err;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) {
		err = -errno;
		log_error("socketpair: %s", strerror(errno));
		return err;
	}
	*pid = fork();
	if (*pid < 0) {
		err = -errno;
		log_error("the drainer cannot be started: %s", strerror(errno));
		close(pair[0]);
		close(pair[1]);
		return err;
	}
	if (*pid == 0)
		become_drainer(pair[1], lock, uid, gid);
	close(pair[1]);
	/* A drainer that stands still does not hold the keeper. */
	if (setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &(struct timeval){.tv_sec = START_S}, sizeof(struct timeval)))
		log_warn("SO_SNDTIMEO: %s", strerror(errno));
	err = send_settings(pair[0], settings);
	if (!err)
		err = link_send(pair[0], LINK_CONTROL, 0, NULL, 0, control);
	if (!err && file >= 0)
		err = link_send(pair[0], LINK_FILE, output_format(settings), NULL, 0, file);
	if (!err && spool >= 0)
		err = link_send(pair[0], LINK_SPOOL, 0, NULL, 0, spool);
	for (unsigned i = 0; !err && i < captures->n; i++)
		err = send_capture(pair[0], captures->list[i], captures->resumed[i], captures->refiltered[i], captures->rebuilt[i]);
	if (!err)
		err = link_send(pair[0], LINK_START, (captures->attached ? LINK_START_ATTACHED : 0) | (again ? LINK_START_AGAIN : 0),
				sensor_id, 16, -1);
	/* From here on the keeper waits for nobody: a drainer that does not read is ended by its deadline. */
	if (!err && fcntl(pair[0], F_SETFL, O_NONBLOCK))
		err = -errno;
	if (err) {
		log_error("the drainer does not take its descriptors: %s", strerror(-err));
		close(pair[0]);
		kill(*pid, SIGKILL);
		waitpid(*pid, NULL, 0);
		return err;
	}
	return pair[0];
}
