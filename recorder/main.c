/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The subcommands, and what is alike in all of them: settings, help, version, dump. */
#include <errno.h>
#include <fcntl.h>

#include "recorder/cli/cmd.h"
#include "recorder/core/clock.h"
#include "recorder/core/util.h"
#include "recorder/db/connect.h"
#include "recorder/db/counters.h"
#include "recorder/process/keeper.h"

struct command {
	const char *name;
	enum settings_command bit;
	int (*run)(const struct settings *settings);
	const char *usage, *summary, *more;
};

static const struct command commands[] = {
	{"record", SETTINGS_RECORD, cmd_record, "-i IF [-i IF...] [--mongo URI] [--write FILE] [OPTION...] [EXPRESSION]",
	 "record the packet headers of interfaces into MongoDB, a file, or both",
	 "SIGINT ends it: capture ends, everything is stored, a summary is printed. SIGTERM does the\n"
	 "same, but with --keep capture goes on in the kernel. SIGUSR1 prints counters, SIGHUP reads the\n"
	 "config file again."},
	{"stop", SETTINGS_STOP, cmd_stop, "[INSTANCE] [OPTION...]",
	 "end a recording: take the hooks off, store what the rings hold",
	 "Waits until everything is stored. A capture that has no process any more is taken over for\n"
	 "that: then --mongo is needed."},
	{"status", SETTINGS_STATUS, cmd_status, "[INSTANCE] [OPTION...]",
	 "show what a recording does; live on a terminal", NULL},
	{"check", SETTINGS_CHECK, cmd_check, "[-i IF...] [--mongo URI] [OPTION...]",
	 "say what this machine and database lack, and how to get it", "Exit status 0 only if nothing is missing."},
	{"import", SETTINGS_IMPORT, cmd_import, "FILE... --mongo URI [OPTION...] [-- EXPRESSION]",
	 "record the packets of capture files: pcap, pcapng, also by gzip or zstd",
	 "- is stdin. The packets keep their times, lengths and interface names, and go to a database of\n"
	 "their own. Importing a file once more adds nothing. If one of the files is not there, nothing is\n"
	 "imported."},
	{"print", SETTINGS_PRINT, cmd_print, "-i IF | -r FILE [OPTION...] [EXPRESSION]",
	 "print the headers of packets: a line each, -v a tree, --json",
	 "Reads an interface (beside a recording, if there is one) or a capture file. Times are UTC. data: bytes\n"
	 "behind the headers, len: of the whole frame. Marks in [] at a line's end: unknown, no header behind that\n"
	 "protocol's name is read; truncated, the capture has less than the headers; malformed; long, more headers\n"
	 "than are looked at; time, the file's time stamp was out of range."},
	{"floods", SETTINGS_FLOODS, cmd_floods, "--mongo URI [--since TIME] [--until TIME] [OPTION...]",
	 "list the floods: when, who, whom, what kind, how much",
	 "Of packets that were counted instead of being stored, so that they fit. A flood's first packets, and those of everybody\n"
	 "else, are stored one by one. Rates are those of whole seconds."},
	{"audit", SETTINGS_AUDIT, cmd_audit, "--mongo URI [--since TIME] [--until TIME] [OPTION...]",
	 "add up what is stored, packet by packet: does the balance close?",
	 "Exit status 0 only if it does. Reads the packets themselves, their ledger, the summaries of floods, the balance, and says of\n"
	 "each thing that does not agree what, where and when. Imports are audited with --database recorder_import."},
	{"block", SETTINGS_BLOCK, cmd_block, "add|del|list [NETWORK...] [--file FILE] [OPTION...]",
	 "drop the packets of these networks: change the block list, show it",
	 "One list for the host, kept over restarts: in force at once on all that is recorded, and on each recording that begins. What is\n"
	 "dropped is counted by entry and recorded with the mark `blocked`; where a ring fills, it is counted only. The longest prefix\n"
	 "counts, source before destination."},
	{"migrate", SETTINGS_MIGRATE, cmd_migrate, "--mongo URI [OPTION...]",
	 "bring the database to this version's collections and indexes", NULL},
};

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

static const char *nearest_command(const char *name)
{
	const char *words[ARRAY_SIZE(commands) + 3] = {"help", "version"};

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		words[2 + i] = commands[i].name;
	return settings_nearest(name, words);
}

static void print_usage(FILE *out)
{
	fputs("xdp-recorder: a flight recorder for packet headers\n\n", out);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(out, "  xdp-recorder %-8s %s\n", commands[i].name, commands[i].summary);
	fputs("  xdp-recorder -D       list the interfaces\n"
	      "  xdp-recorder version  print the version\n"
	      "\n`xdp-recorder COMMAND --help` lists a command's options. Each can also be given as "
	      "XDP_RECORDER_<NAME> or in a\n"
	      "file named by --config; the command line comes first, then the environment, then the file.\n"
	      "Exit status: 0 done, 1 failed, 2 wrong usage.\n",
	      out);
}

static void print_help(const struct command *command)
{
	printf("usage: xdp-recorder %s %s\n\n%s.\n", command->name, command->usage, command->summary);
	if (command->more)
		printf("%s\n", command->more);
	putchar('\n');
	settings_help(command->bit, stdout);
	puts("\nExit status: 0 done, 1 failed, 2 wrong usage.");
}

/* Output that could not be written is a failure, whatever came before. */
static int finish(int status)
{
	if (fflush(stdout) || ferror(stdout))
		return status ? status : cmd_fail(EXIT_FAILED, "cannot write the output: %s", strerror(errno));
	return status;
}

static int print_version(void)
{
	puts("xdp-recorder " RECORDER_VERSION);
	return finish(EXIT_DONE);
}

static int run(const struct command *command, int argc, char **argv)
{
	struct settings_problem problem;
	struct settings settings;
	int status, err;

	if (settings_load(&settings, command->bit, argc, argv, &problem))
		return cmd_fail(EXIT_USAGE, "%s", problem.text);
	log_set_level(settings_log_level(&settings));
	err = settings.test_clock ? clock_inject(settings.test_clock) : 0;
	if (err) {
		status = cmd_fail(EXIT_USAGE, "test-clock %s: %s", settings.test_clock, strerror(-err));
	} else if (settings.help) {
		print_help(command);
		status = EXIT_DONE;
	} else if (settings.version) {
		status = print_version();
	} else if (settings.list_interfaces) {
		status = cmd_list_interfaces(&settings);
	} else if (settings.dump_config) {
		settings_dump(&settings, command->bit, stdout);
		status = EXIT_DONE;
	} else {
		status = command->run(&settings);
	}
	settings_free(&settings);
	return finish(status);
}

/* Started by the keeper: the link is the descriptor of that number. */
static int run_drainer(int argc, char **argv)
{
	char *end;
	long fd = argc == 1 ? strtol(argv[0], &end, 10) : -1;

	if (argc != 1 || *end || fd < 3 || fd > 1000000)
		return cmd_fail(EXIT_USAGE, "drainer is started by record, not by hand");
	return drainer_main((int)fd);
}

static int help(int argc, char **argv)
{
	const struct command *command = argc ? find_command(argv[0]) : NULL;
	const char *near;

	if (argc > 1)
		return cmd_fail(EXIT_USAGE, "help takes one command");
	if (argc && !command) {
		near = nearest_command(argv[0]);
		return cmd_fail(EXIT_USAGE, "there is no command %s%s%s%s", argv[0], near ? ": did you mean " : "",
				near ? near : "", near ? "?" : "");
	}
	if (command)
		print_help(command);
	else
		print_usage(stdout);
	return finish(EXIT_DONE);
}

/*
 * Who was started with one of the first three closed must not get a file of its own there, into which it then prints. What is put
 * there fails as if it were closed: read only for output, write only for input.
 */
static void occupy_standard_descriptors(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd ? O_RDONLY : O_WRONLY) < 0)
			_exit(EXIT_FAILED); /* there is nobody to tell */
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : NULL, *near;
	const struct command *command;
	char shown[200];

	occupy_standard_descriptors();
	counters_forget();
	if (!name) {
		print_usage(stderr);
		return EXIT_USAGE;
	}
	command = find_command(name);
	if (command)
		return run(command, argc - 2, argv + 2);
	if (!strcmp(name, "drainer"))
		return run_drainer(argc - 2, argv + 2);
	if (!strcmp(name, "help") || !strcmp(name, "--help") || !strcmp(name, "-h"))
		return help(argc - 2, argv + 2);
	if (!strcmp(name, "version") || !strcmp(name, "--version") || !strcmp(name, "-V"))
		return print_version();
	if (!strcmp(name, "-D") || !strcmp(name, "--list-interfaces"))
		return run(find_command("record"), argc - 1, argv + 1);
	if (name[0] == '-')
		return cmd_fail(EXIT_USAGE,
				"the first word must be a command, such as `xdp-recorder record %s`; `xdp-recorder "
				"help` lists them",
				uri_redacted(name, shown, sizeof(shown)));
	near = nearest_command(name);
	return cmd_fail(EXIT_USAGE, "there is no command %s%s%s%s; `xdp-recorder help` lists them",
			uri_redacted(name, shown, sizeof(shown)), near ? ": did you mean " : "", near ? near : "",
			near ? "?" : "");
}
