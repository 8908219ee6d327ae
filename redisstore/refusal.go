package redisstore

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
)

// remedies are what an operator does about the errors that Redis answers with,
// by the word that each begins with.
var remedies = map[string]string{
	"ASK":         "the store needs the option cluster there",
	"BUSY":        "a script does not end there",
	"CLUSTERDOWN": "the cluster has no primary for some keys",
	"CROSSSLOT":   "something between cuts commands apart",
	"DENIED":      "it is in protected mode; give it a password, or bind it to a private network",
	"EXECABORT":   "the user lacks a right; ACL LOG says which, docs/scaling.md which are needed",
	"LOADING":     "it is still reading its data",
	"MASTERDOWN":  "it is a replica that has lost its primary",
	"MISCONF":     "it cannot write to its disk",
	"MOVED":       "the store needs the option cluster there",
	"NOAUTH":      "it wants a password; set the option password",
	"NOPERM":      "the user lacks a right; ACL LOG says which, docs/scaling.md which are needed",
	"NOPROTO":     "it does not speak RESP3; it is older than Redis 6, or set cache_size to 0",
	"NOREPLICAS":  "it has fewer replicas than it is to have for a write",
	"OOM":         "its memory is full; raise maxmemory",
	"READONLY":    "it is a replica; give the primary's address, or use sentinel",
	"TRYAGAIN":    "the cluster is moving the key",
	"WRONGPASS":   "username or password are wrong, or the user is off",
	"WRONGTYPE":   "another program keeps something under the key; set another key_prefix",
}

// remediesOfERR are for those that begin with "ERR", which the client library
// takes off, by a part of their texts.
var remediesOfERR = []struct{ part, remedy string }{
	{"unknown command", "it does not know a command: it is older than Redis 6, or the command was renamed"},
	{"max number of clients", "it has as many clients as it allows; raise maxclients"},
	{"without any password configured", "it has no password; take the option password away"},
	{"no password is set", "it has no password; take the option password away"},
	{"invalid password", "the password is wrong"},
	{"DB index is out of range", "it has no database of the number; see the option database"},
	{"invalid DB index", "it has no database of the number; see the option database"},
	{"SELECT is not allowed in cluster mode", "it is a node of a cluster; use the option cluster"},
	{"cluster support disabled", "it is no cluster; take the option cluster away"},
}

// errorCode is the word that says which error it is. Redis 6 puts words of its
// own before what a script met.
func errorCode(text string) string {
	if _, met, ok := strings.Cut(text, ": -"); ok && strings.HasPrefix(text, "Error running script") {
		text = met
	}
	code, _, _ := strings.Cut(text, " ")
	return code
}

// noPrimary reports whether an error means that the server is no primary, or
// none yet.
func noPrimary(text string) bool {
	code := errorCode(text)
	return code == "READONLY" || code == "MASTERDOWN" || code == "LOADING"
}

// refusal says what an error that the server answered means. The server's text
// is not in it: some repeat the command that they are about, and the first one
// has the password.
func refusal(text string) error {
	code := errorCode(text)
	if remedy, known := remedies[code]; known {
		return fmt.Errorf("redis says %s: %s", code, remedy)
	}
	for _, e := range remediesOfERR {
		if strings.Contains(text, e.part) {
			return fmt.Errorf("redis says ERR: %s", e.remedy)
		}
	}
	return errors.New("redis says ERR; the rest is left out, since it may repeat the password: try redis-cli with the same address and user")
}

var errNoTracking = errors.New("redis does not say when a session changes: it is older than Redis 6, something between speaks no RESP3, or the user must not use the command CLIENT; change that or set cache_size to 0")

// withoutServerText is why no answer came, without what the server said before it.
func withoutServerText(err error) error {
	if errors.Is(err, rueidis.ErrNoCache) {
		return errNoTracking
	}
	if _, unreadable := errors.AsType[*strconv.NumError](err); unreadable {
		return errNonsense
	}
	return err
}
