/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/db/translate.h"

#include <stdio.h>

#include "recorder/core/util.h"
#include "recorder/db/ensure.h"

/*
 * The server's codes (error_codes.yml) by what they mean to somebody who can wait. All others are DB_REFUSED: the same
 * again would give the same. For documents either is tried again, backing off, after looking what is there; the
 * difference is what the user is told.
 */
static const struct {
	int32_t code;
	enum db_result result;
} codes[] = {
	{11000, DB_DUPLICATE}, {11001, DB_DUPLICATE}, {12582, DB_DUPLICATE},

	{13, DB_DENIED},  /* Unauthorized */
	{18, DB_DENIED},  /* AuthenticationFailed */
	{11, DB_DENIED},  /* UserNotFound */
	{391, DB_DENIED}, /* ReauthenticationRequired */

	{1, DB_LATER},	   /* InternalError */
	{6, DB_LATER},	   /* HostUnreachable */
	{7, DB_LATER},	   /* HostNotFound */
	{8, DB_LATER},	   /* UnknownError */
	{24, DB_LATER},	   /* LockTimeout */
	{43, DB_LATER},	   /* CursorNotFound */
	{46, DB_LATER},	   /* LockBusy */
	{50, DB_LATER},	   /* MaxTimeMSExpired */
	{63, DB_LATER},	   /* StaleShardVersion */
	{64, DB_LATER},	   /* WriteConcernFailed */
	{70, DB_LATER},	   /* ShardNotFound */
	{79, DB_LATER},	   /* UnknownReplWriteConcern */
	{89, DB_LATER},	   /* NetworkTimeout */
	{91, DB_LATER},	   /* ShutdownInProgress */
	{100, DB_LATER},   /* UnsatisfiableWriteConcern */
	{112, DB_LATER},   /* WriteConflict */
	{117, DB_LATER},   /* ConflictingOperationInProgress */
	{133, DB_LATER},   /* FailedToSatisfyReadPreference */
	{134, DB_LATER},   /* ReadConcernMajorityNotAvailableYet */
	{146, DB_LATER},   /* ExceededMemoryLimit */
	{150, DB_LATER},   /* StaleEpoch */
	{175, DB_LATER},   /* QueryPlanKilled */
	{189, DB_LATER},   /* PrimarySteppedDown */
	{202, DB_LATER},   /* NetworkInterfaceExceededTimeLimit */
	{237, DB_LATER},   /* CursorKilled */
	{262, DB_LATER},   /* ExceededTimeLimit */
	{264, DB_LATER},   /* TooManyFilesOpen */
	{276, DB_LATER},   /* IndexBuildAborted */
	{290, DB_LATER},   /* TransactionExceededLifetimeLimitSeconds */
	{365, DB_LATER},   /* TemporarilyUnavailable */
	{371, DB_LATER},   /* UserWritesBlocked */
	{462, DB_LATER},   /* IngressRequestRateLimitExceeded */
	{8000, DB_LATER},  /* AtlasError: over a quota of the plan */
	{9001, DB_LATER},  /* SocketException, between servers */
	{10107, DB_LATER}, /* NotWritablePrimary */
	{11600, DB_LATER}, /* InterruptedAtShutdown */
	{11601, DB_LATER}, /* Interrupted */
	{11602, DB_LATER}, /* InterruptedDueToReplStateChange */
	{12586, DB_LATER}, /* BackgroundOperationInProgressForDatabase */
	{12587, DB_LATER}, /* BackgroundOperationInProgressForNamespace */
	{13388, DB_LATER}, /* StaleConfig */
	{13435, DB_LATER}, /* NotPrimaryNoSecondaryOk */
	{13436, DB_LATER}, /* NotPrimaryOrSecondary */
	{14031, DB_LATER}, /* OutOfDiskSpace */
};

enum db_result translate_code(int32_t code)
{
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
		if (codes[i].code == code)
			return codes[i].result;
	return DB_REFUSED;
}

/* How bad a result is when one answer holds several. */
static int weight(enum db_result result)
{
	switch (result) {
	case DB_OK:
		return 0;
	case DB_DUPLICATE:
		return 1;
	case DB_LATER:
		return 2;
	case DB_DENIED:
		return 3;
	default:
		return 4;
	}
}

static int32_t int_field(const bson_t *doc, const char *name)
{
	bson_iter_t it;

	return bson_iter_init_find(&it, doc, name) && BSON_ITER_HOLDS_NUMBER(&it) ? (int32_t)bson_iter_as_int64(&it)
										  : 0;
}

static const char *text_field(const bson_t *doc, const char *name)
{
	bson_iter_t it;

	return bson_iter_init_find(&it, doc, name) && BSON_ITER_HOLDS_UTF8(&it) ? bson_iter_utf8(&it, NULL) : "no text";
}

/* The server says itself that trying again can help. */
static bool labelled_retryable(const bson_t *reply)
{
	bson_iter_t it, label;

	if (!bson_iter_init_find(&it, reply, "errorLabels") || !BSON_ITER_HOLDS_ARRAY(&it) ||
	    !bson_iter_recurse(&it, &label))
		return false;
	while (bson_iter_next(&label))
		if (BSON_ITER_HOLDS_UTF8(&label) && (!strcmp(bson_iter_utf8(&label, NULL), "RetryableWriteError") ||
						     !strcmp(bson_iter_utf8(&label, NULL), "RetryableError")))
			return true;
	return false;
}

static enum db_result denied(const char *where, const char *what, int32_t code, const char *text,
			     struct db_problem *problem)
{
	if (code == 13)
		db_problem_set(problem, DB_DENIED,
			       "%s: %s: the user lacks rights (%s); readWrite and dbAdmin on the database are needed",
			       where, what, text);
	else
		db_problem_set(problem, DB_DENIED,
			       "%s: login refused (%s); check user, password and authSource of the URI", where, text);
	problem->code = code;
	return DB_DENIED;
}

static enum db_result coded(const char *where, const char *what, const bson_t *reply, int32_t code, const char *text,
			    struct db_problem *problem)
{
	enum db_result result = translate_code(code);

	if (result == DB_DENIED)
		return denied(where, what, code, text, problem);
	if (result == DB_REFUSED && reply && labelled_retryable(reply))
		result = DB_LATER;
	db_problem_set(problem, result, "%s: %s %s: %s (code %d)", where, what,
		       result == DB_LATER	? "not now"
		       : result == DB_DUPLICATE ? "duplicate"
						: "refused",
		       text, code);
	problem->code = code;
	return result;
}

static enum db_result write_errors(const char *where, const char *what, const bson_iter_t *errors,
				   struct db_problem *problem)
{
	enum db_result worst = DB_OK;
	unsigned count = 0;
	bson_iter_t it;
	bson_t error;

	if (!BSON_ITER_HOLDS_ARRAY(errors) || !bson_iter_recurse(errors, &it))
		return DB_OK;
	while (bson_iter_next(&it)) {
		if (!ensure_inside(&it, &error))
			continue;
		int32_t code = int_field(&error, "code");
		enum db_result result = translate_code(code);
		count++;
		if (weight(result) <= weight(worst))
			continue;
		worst = result;
		db_problem_set(problem, result, "%s: %s: document %d %s: %s (code %d)", where, what,
			       int_field(&error, "index"),
			       result == DB_DUPLICATE ? "duplicate"
			       : result == DB_LATER   ? "not now"
						      : "refused",
			       text_field(&error, "errmsg"), code);
		problem->code = code;
		problem->index = (uint32_t)int_field(&error, "index");
	}
	if (count > 1) {
		char first[sizeof(problem->text)];
		memcpy(first, problem->text, sizeof(first));
		int32_t code = problem->code;
		uint32_t index = problem->index;
		db_problem_set(problem, worst, "%.*s; %u in all", (int)sizeof(first) - 24, first, count);
		problem->code = code;
		problem->index = index;
	}
	return worst;
}

enum db_result translate_reply(const char *where, const char *what, const bson_t *reply, struct db_problem *problem)
{
	bson_iter_t it;
	bson_t doc;

	if (!bson_iter_init_find(&it, reply, "ok") || !(BSON_ITER_HOLDS_NUMBER(&it) || BSON_ITER_HOLDS_BOOL(&it)))
		return db_problem_set(problem, DB_UNKNOWN, "%s: %s: an answer without ok; is this MongoDB?", where,
				      what);
	if (!bson_iter_as_bool(&it))
		return coded(where, what, reply, int_field(reply, "code"), text_field(reply, "errmsg"), problem);
	if (bson_iter_init_find(&it, reply, "writeErrors")) {
		enum db_result result = write_errors(where, what, &it, problem);
		if (result != DB_OK)
			return result;
	}
	if (bson_iter_init_find(&it, reply, "writeConcernError") && ensure_inside(&it, &doc)) {
		/* Written here, but not known to last. */
		db_problem_set(problem, DB_LATER, "%s: %s: not acknowledged by the majority: %s (code %d)", where, what,
			       text_field(&doc, "errmsg"), int_field(&doc, "code"));
		problem->code = int_field(&doc, "code");
		return DB_LATER;
	}
	return DB_OK;
}

/* libmongoc puts the reason in brackets behind advice that does not help: "No suitable servers found (...): [reason]".
 */
static const char *reason(const char *message, char *out, size_t size)
{
	const char *open = strchr(message, '['), *close = open ? strrchr(message, ']') : NULL;

	if (!close)
		return *message ? message : "an answer that makes no sense";
	snprintf(out, size, "%.*s", (int)(close - open - 1), open + 1);
	return out;
}

enum db_result translate_error(const char *where, const char *what, const bson_error_t *error, const bson_t *reply,
			       bool sent, struct db_problem *problem)
{
	char buffer[sizeof(error->message)];
	const char *text = reason(error->message, buffer, sizeof(buffer));

	if (reply && !bson_empty(reply) && error->domain == MONGOC_ERROR_SERVER)
		return coded(where, what, reply, (int32_t)error->code, error->message, problem);

	switch (error->domain) {
	case MONGOC_ERROR_SERVER:
		/* Of the greeting or login, not of our command. */
		return sent ? coded(where, what, NULL, (int32_t)error->code, error->message, problem)
			    : db_problem_set(problem, DB_UNREACHABLE, "%s: cannot connect: %s", where, text);
	case MONGOC_ERROR_SASL:
	case MONGOC_ERROR_SCRAM:
		if (!sent)
			return denied(where, what, 18, text, problem);
		break;
	case MONGOC_ERROR_CLIENT:
		if (error->code == MONGOC_ERROR_CLIENT_AUTHENTICATE && !sent)
			return denied(where, what, 18, text, problem);
		if (error->code == MONGOC_ERROR_CLIENT_TOO_BIG)
			return db_problem_set(problem, DB_REFUSED, "%s: %s: too large for one message: %s", where, what,
					      text);
		break;
	case MONGOC_ERROR_PROTOCOL:
		if (error->code == MONGOC_ERROR_PROTOCOL_BAD_WIRE_VERSION)
			return db_problem_set(problem, DB_FATAL, "%s: %s", where, text);
		break;
	case MONGOC_ERROR_COMMAND:
	case MONGOC_ERROR_BSON:
		if (!sent)
			return db_problem_set(problem, DB_REFUSED, "%s: %s cannot be sent: %s", where, what, text);
		break;
	default:
		break;
	}
	if (!sent)
		return db_problem_set(problem, DB_UNREACHABLE, "%s: cannot be reached: %s", where, text);
	return db_problem_set(problem, DB_UNKNOWN, "%s: %s: sent, and no answer: %s", where, what, text);
}
