package redisstore

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
)

// remedies says what an operator can do about an error of Redis, by the word
// that the error begins with.
var remedies = map[string]string{
	"ASK":         "it is a node of a cluster; use the option cluster",
	"BUSY":        "a script on the server does not end",
	"CLUSTERDOWN": "the cluster has no primary for some keys",
	"CROSSSLOT":   "a proxy in between splits commands",
	"DENIED":      "it is in protected mode; give it a password, or bind it to a private network",
	"EXECABORT":   "the user lacks a right; ACL LOG says which, docs/scaling.md which are needed",
	"LOADING":     "it is still reading its data",
	"MASTERDOWN":  "it is a replica that has lost its primary",
	"MISCONF":     "it cannot write to its disk",
	"MOVED":       "it is a node of a cluster; use the option cluster",
	"NOAUTH":      "it requires a password; set the option password",
	"NOPERM":      "the user lacks a right; ACL LOG says which, docs/scaling.md which are needed",
	"NOPROTO":     "it does not speak RESP3; it is older than Redis 6, or set cache_size to 0",
	"NOREPLICAS":  "it has fewer replicas than min-replicas-to-write requires",
	"OOM":         "its memory is full; raise maxmemory",
	"READONLY":    "it is a replica; give the primary's address, or use sentinel",
	"TRYAGAIN":    "the cluster is moving the key",
	"WRONGPASS":   "the username or the password is wrong, or the user is off",
	"WRONGTYPE":   "another program uses the key; set another key_prefix",
}

// remediesOfERR is for errors that begin with "ERR", which the client library
// removes. It selects a remedy by a part of the text.
var remediesOfERR = []struct{ part, remedy string }{
	{"unknown command", "it does not know a command: it is older than Redis 6, or the command was renamed"},
	{"max number of clients", "it has as many clients as it allows; raise maxclients"},
	{"without any password configured", "it has no password; remove the option password"},
	{"no password is set", "it has no password; remove the option password"},
	{"invalid password", "the password is wrong"},
	{"DB index is out of range", "it has no database with this number; change the option database"},
	{"invalid DB index", "it has no database with this number; change the option database"},
	{"SELECT is not allowed in cluster mode", "it is a node of a cluster; use the option cluster"},
	{"cluster support disabled", "it is not a cluster; remove the option cluster"},
}

// errorCode returns the first word of an error, which tells errors apart. Redis 6
// puts a text before an error that occurred in a script.
func errorCode(text string) string {
	if _, met, ok := strings.Cut(text, ": -"); ok && strings.HasPrefix(text, "Error running script") {
		text = met
	}
	code, _, _ := strings.Cut(text, " ")
	return code
}

// notPrimary reports whether an error means that the server is not the primary,
// or not ready yet.
func notPrimary(text string) bool {
	code := errorCode(text)
	return code == "READONLY" || code == "MASTERDOWN" || code == "LOADING"
}

// explain returns an error that says what an error of the server means. It omits
// the server's text, which may repeat the command. The first command of a
// connection contains the password.
func explain(text string) error {
	code := errorCode(text)
	if remedy, known := remedies[code]; known {
		return fmt.Errorf("redis says %s: %s", code, remedy)
	}
	for _, e := range remediesOfERR {
		if strings.Contains(text, e.part) {
			return fmt.Errorf("redis says ERR: %s", e.remedy)
		}
	}
	return errors.New("redis says ERR; the rest is omitted because it may repeat the password: try redis-cli with the same address and user")
}

var errNoTracking = errors.New("redis does not support client-side caching: it is older than Redis 6, a proxy in between does not speak RESP3, or the user lacks the right to use CLIENT; change that or set cache_size to 0")

// withoutServerText replaces an error of the client library that repeats bytes
// from the server.
func withoutServerText(err error) error {
	if errors.Is(err, rueidis.ErrNoCache) {
		return errNoTracking
	}
	if _, unreadable := errors.AsType[*strconv.NumError](err); unreadable {
		return errBadAnswer
	}
	return err
}

var errBadAnswer = errors.New("not an answer of redis; check what listens at its address")

var errReplica = errors.New("the server is a replica, which may not know of a logout yet: make it the primary, give the primary's address, or use sentinel")

// isReplicaRole reports whether a role is that of a replica. ROLE and HELLO use
// different words.
func isReplicaRole(role string) bool { return role == "slave" || role == "replica" }
