/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * status: asks the drainer's control socket and shows what it says; live on a terminal. An instance that has no process
 * but is pinned is looked at by reading the kernel's counters.
 */
#include "recorder/cli/cmd.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <termios.h>

#include "recorder/capture/capture.h"
#include "recorder/cli/pinned.h"
#include "recorder/cli/report.h"
#include "recorder/core/clock.h"
#include "recorder/core/util.h"

#define ANSWER_MAX (1u << 20)
#define BOUND_S 3
#define REFRESH_MS 1000

/* ---- asking ------------------------------------------------------------------------------------------------------ */

static int open_control(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval bound = {BOUND_S, 0};
	CLEANUP_CLOSE int fd = -1;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof(bound)) ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &bound, sizeof(bound)) ||
	    connect(fd, (struct sockaddr *)&address, sizeof(address)))
		return -errno;
	return TAKE_FD(fd);
}

/* The line of JSON, malloced, without its end; NULL with errno. */
static char *ask(const char *path)
{
	static const char question[] = "status\n";
	uint64_t until = clock_boot_ns() + BOUND_S * NS_PER_SEC;
	CLEANUP_FREE char *answer = NULL;
	CLEANUP_CLOSE int fd = open_control(path);
	size_t used = 0;

	if (fd < 0) {
		errno = -fd;
		return NULL;
	}
	answer = malloc(ANSWER_MAX);
	if (!answer || send(fd, question, sizeof(question) - 1, MSG_NOSIGNAL) != sizeof(question) - 1)
		return NULL;
	while (used < ANSWER_MAX - 1) {
		ssize_t n = recv(fd, answer + used, ANSWER_MAX - 1 - used, 0);
		char *end;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || clock_boot_ns() > until) {
			errno = n < 0 ? errno : n == 0 ? ECONNRESET : ETIMEDOUT;
			return NULL;
		}
		used += (size_t)n;
		end = memchr(answer + used - (size_t)n, '\n', (size_t)n);
		if (end) {
			*end = '\0';
			return TAKE_PTR(answer);
		}
	}
	errno = EMSGSIZE;
	return NULL;
}

/* What can be said about the instance now; the caller destroys it. NULL with a line in `problem`. */
static bson_t *look(struct instance *instance, char *problem, size_t size)
{
	CLEANUP_FREE char *line = NULL;
	struct instance fresh;
	bson_error_t error;
	bson_t *answer;

	if (!instance_look(&fresh, instance->name))
		*instance = fresh;
	if (!instance->keeper && !instance->pinned && instance->foreign) {
		struct capture_error text = {""};
		char dir[PATH_MAX];

		capture_foreign(instance_bpffs(), instance->name, NULL, dir, sizeof(dir), &text);
		snprintf(problem, size, "%s", text.text);
		errno = EPROTO;
		return NULL;
	}
	if (!instance->keeper && !instance->pinned) {
		snprintf(problem, size, "instance %s has ended", instance->name);
		errno = ESRCH;
		return NULL;
	}
	if (!instance->keeper)
		return pinned_look(instance, problem, size);
	line = ask(instance->control);
	if (!line) {
		snprintf(problem, size, "instance %s (process %d) does not answer at %s: %s", instance->name,
			 (int)instance->keeper, instance->control,
			 errno == EAGAIN ? "no answer in time" : strerror(errno));
		errno = EAGAIN;
		return NULL;
	}
	answer = bson_new_from_json((const uint8_t *)line, -1, &error);
	if (!answer) {
		snprintf(problem, size, "instance %s answers something that is no JSON", instance->name);
		errno = EPROTO;
	}
	return answer;
}

/* ---- one report -------------------------------------------------------------------------------------------------- */

static int once(const struct settings *settings, struct instance *instance)
{
	char problem[400];
	bson_t *answer = look(instance, problem, sizeof(problem));
	char *json;

	if (!answer)
		return cmd_fail(EXIT_FAILED, "%s", problem);
	if (settings->json) {
		json = bson_as_relaxed_extended_json(answer, NULL);
		puts(json ? json : "{}");
		bson_free(json);
	} else {
		report_print(stdout, answer, NULL, 0, false);
	}
	bson_destroy(answer);
	return EXIT_DONE;
}

/* ---- live -------------------------------------------------------------------------------------------------------- */

static volatile sig_atomic_t ended;

static void on_signal(int number)
{
	if (number != SIGWINCH) /* which only ends the wait */
		ended = 1;
}

/* The text at the top left corner: cut to the terminal, every line cleared behind its end. */
static void draw(const char *text)
{
	struct winsize size = {.ws_row = 24, .ws_col = 80};
	unsigned row = 0;

	ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
	if (!size.ws_row || !size.ws_col)
		size = (struct winsize){.ws_row = 24, .ws_col = 80};
	fputs("\033[H", stdout);
	for (const char *line = text; *line && row < size.ws_row; row++) {
		unsigned column = 0;

		if (row)
			fputc('\n', stdout);
		for (; *line && *line != '\n'; line++) {
			if (*line == '\033') { /* sequences take no room */
				size_t len = strcspn(line, "m") + 1;

				fwrite(line, 1, len, stdout);
				line += len - 1;
			} else if (column < size.ws_col) {
				putchar(*line);
				column += ((unsigned char)*line & 0xc0) != 0x80;
			}
		}
		fputs("\033[0m\033[K", stdout);
		line += *line == '\n';
	}
	fputs("\033[J", stdout);
	fflush(stdout);
}

static void show(struct instance *instance, bson_t **before, uint64_t *before_ns, bool *gone, char *problem,
		 size_t size)
{
	bson_t *now = look(instance, problem, size);
	uint64_t now_ns = clock_boot_ns();
	char *text = NULL;
	size_t len;
	FILE *memory;

	*gone = !now && errno == ESRCH;
	memory = open_memstream(&text, &len);
	if (!memory)
		return;
	if (now)
		report_print(memory, now, *before, *before ? (double)(now_ns - *before_ns) / NS_PER_SEC : 0, true);
	else
		fprintf(memory, "\033[31m%s\033[0m\n", problem);
	fputs("\nq ends this view, recording goes on\n", memory);
	if (!fclose(memory))
		draw(text);
	free(text);
	if (now) {
		bson_destroy(*before);
		*before = now;
		*before_ns = now_ns;
	}
}

static int live(struct instance *instance)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH, SIGPIPE};
	struct sigaction action = {.sa_handler = on_signal}, ignore = {.sa_handler = SIG_IGN};
	struct termios saved, raw;
	struct timespec refresh = {REFRESH_MS / 1000, REFRESH_MS % 1000 * 1000000};
	sigset_t blocked, normal;
	bson_t *before = NULL;
	uint64_t before_ns = 0;
	bool keyboard = tcgetattr(STDIN_FILENO, &saved) == 0, gone = false;
	char problem[400] = "";

	sigemptyset(&blocked);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		sigaction(signals[i], &action, NULL);
		sigaddset(&blocked, signals[i]);
	}
	sigaction(SIGTSTP, &ignore, NULL); /* the screen would be left as it is */
	sigprocmask(SIG_BLOCK, &blocked, &normal);
	if (keyboard) {
		raw = saved;
		raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
		tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	}
	fputs("\033[?1049h\033[?25l", stdout);
	while (!ended && !gone && !ferror(stdout)) {
		struct pollfd key = {.fd = keyboard ? STDIN_FILENO : -1, .events = POLLIN};
		char c = 0;

		show(instance, &before, &before_ns, &gone, problem, sizeof(problem));
		if (gone)
			break;
		if (ppoll(&key, 1, &refresh, &normal) > 0 &&
		    (read(STDIN_FILENO, &c, 1) <= 0 || c == 'q' || c == 'Q' || c == 4))
			break;
	}
	fputs("\033[?25h\033[?1049l", stdout);
	fflush(stdout);
	if (keyboard)
		tcsetattr(STDIN_FILENO, TCSANOW, &saved);
	sigprocmask(SIG_SETMASK, &normal, NULL);
	if (before) /* the last figures stay on the screen */
		report_print(stdout, before, NULL, 0, false);
	bson_destroy(before);
	if (gone)
		fprintf(stderr, "xdp-recorder: %s\n", problem);
	return EXIT_DONE;
}

int cmd_status(const struct settings *settings)
{
	struct instance instance;
	int status = cmd_find_instance(settings, &instance);

	if (status)
		return status;
	if (settings->json || settings->once || !isatty(STDOUT_FILENO))
		return once(settings, &instance);
	return live(&instance);
}
