package doctor

import (
	"strings"
	"time"
)

// Level is how bad a finding is.
type Level string

// The levels of findings.
const (
	OK      Level = "ok"
	Warning Level = "warning"
	Failure Level = "failure"
	Skipped Level = "skipped"
)

// Finding is the result of a check.
type Finding struct {
	Check  string `json:"check"`
	Level  Level  `json:"level"`
	Seen   string `json:"seen"`
	Remedy string `json:"remedy"`
}

// Passed reports whether there is no failure.
func Passed(findings []Finding) bool {
	for _, f := range findings {
		if f.Level == Failure {
			return false
		}
	}
	return true
}

// The names of the checks, in the order of their findings.
const (
	checkOptions     = "options"
	checkCredentials = "credentials"
	checkAccessLogs  = "access logs"
	checkAuthServer  = "auth server"
	checkClock       = "clock"
	checkProviders   = "providers"
	checkToken       = "token endpoint"
	checkLink        = "auth link"
	checkKeySet      = "key set"
	checkStore       = "store"
	checkRedirect    = "redirect URI"
)

// checkTimeout bounds each check. Some wait for an earlier one, so a block takes at
// most twice as long.
const checkTimeout = 10 * time.Second

const whyOffline = "not checked, since the network is left out"

// printable bounds what an answer says, and takes out what does not belong into a
// terminal.
func printable(s string) string {
	const most = 200
	s = strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e {
			return '?'
		}
		return r
	}, s)
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
