package main

import (
	"os"
	"strings"
	"testing"
)

// TestMain lets the test binary play the roles, as the command does.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "role" {
		main()
		return
	}
	// A role in which the race detector finds something ends at once, so that
	// the test fails. The detector's own second of waiting at the end of each
	// process would add up to a minute.
	_ = os.Setenv("GORACE", "halt_on_error=1 atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	os.Exit(m.Run())
}

// TestRun runs the command as briefly as it goes, so that it does not rot; how
// fast anything is makes no difference here. The sweep would take minutes.
func TestRun(t *testing.T) {
	runs(t, "duel,duel-storage,login,login-storage,anonymous,scale",
		"| requests per second, of those of a bare reverse_proxy | at least 0.98 | ",
		"| requests per second with store storage and 20 visitors, of those of a bare reverse_proxy | at least 0.93 | ",
		"| CPU per login, the provider's not counted | at most 0.5 ms | ",
		"| CPU per login with store storage, the provider's not counted |  | ",
		"| growth of the heap over 100 requests without a session | none | ",
		"| requests per second with 20 sessions, of those with 1000 | at least 0.95 | ",
	)
}

// TestRunWithRedis is the same for what needs a redis-server.
func TestRunWithRedis(t *testing.T) {
	runs(t, "duel-redis,nodes,login-redis,forged-redis,memory-redis,get,write,lock",
		"| requests per second with store redis and 20 visitors, of those of a bare reverse_proxy | at least 0.93 | ",
		"| CPU of Redis for each of our requests |  | ",
		"| 3 nodes with store redis: CPU per request, of that of 1 node; the same of bare ones |  | ",
		"| CPU per login with store redis, the provider's not counted |  | ",
		"| growth of the heap over 100 forged session cookies with store redis | none | ",
		"| growth of Redis's memory and of its tracking table over these | none | ",
		"| commands of Redis for each of these requests | at most 1 | ",
		"| memory of Redis for a login, at 20; a part of it lasts half an hour only |  | ",
		"| a Get of store memory: one of 20 records read over and over, median |  | ",
		"| a Get of store redis: one of 20 read for the first time, median |  | ",
		"| Create, Replace, Delete of store storage, medians |  | ",
		"| the same that another process holds for another 200ms |  | ",
	)
}

func runs(t *testing.T, parts string, rows ...string) {
	t.Helper()
	var out strings.Builder
	err := run(t.Context(), []string{
		"-only=" + parts, "-rounds=1", "-round-time=100ms", "-connections=2", "-aof",
		"-visitors=20", "-sessions=20", "-anonymous=100", "-logins=10",
	}, &out)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if !strings.Contains(out.String(), row) {
			t.Errorf("the table has no row %q:\n%s", row, &out)
		}
	}
}

func TestRunRefuses(t *testing.T) {
	for _, args := range []string{"-only=nothing", "-rounds=0", "-sessions=x", "extra"} {
		if err := run(t.Context(), []string{args}, new(strings.Builder)); err == nil {
			t.Errorf("%s was accepted", args)
		}
	}
}
