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

// TestRun runs every part as briefly as it goes. How fast anything is makes no
// difference here.
func TestRun(t *testing.T) {
	var out strings.Builder
	err := run(t.Context(), []string{
		"-rounds=1", "-round-time=100ms", "-visitors=20", "-sessions=20", "-anonymous=100", "-logins=10", "-aof",
	}, &out)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []string{
		"| requests per second, of those of a bare reverse_proxy | at least 0.98 | ",
		"| requests per second with store storage and 20 visitors, of those of a bare reverse_proxy | at least 0.93 | ",
		"| requests per second with store redis and 20 visitors, of those of a bare reverse_proxy | at least 0.93 | ",
		"| CPU of Redis for each of our requests |  | ",
		"| on 3 nodes, CPU per request with store redis and 20 visitors, of that of a bare reverse_proxy |  | ",
		"| CPU per login, the provider's not counted | at most 0.5 ms | ",
		"| CPU per login with store storage, the provider's not counted |  | ",
		"| CPU per login with store redis, the provider's not counted |  | ",
		"| growth of the heap over 100 requests without a session | none | ",
		"| growth of the heap over 100 forged session cookies with store redis | none | ",
		"| growth of Redis's memory and of its tracking table over these | none | ",
		"| commands of Redis for each of these requests | at most 1 | ",
		"| requests per second with 20 sessions, of those with 1000 | at least 0.95 | ",
	} {
		if !strings.Contains(out.String(), row) {
			t.Errorf("the table has no row %q:\n%s", row, &out)
		}
	}
}

// TestRunEnds: what fails ends the command with an error, and what it started.
func TestRunEnds(t *testing.T) {
	err := measure(t.Context(), options{}, new(table), func(m *measurement) {
		m.start("nobody", 1, nowhere, "")
	})
	if err == nil || !strings.Contains(err.Error(), "starting nobody") {
		t.Errorf("got error %v", err)
	}
}

func TestRunRefuses(t *testing.T) {
	for _, args := range []string{"-only=nothing", "-rounds=0", "-sessions=x", "extra"} {
		if err := run(t.Context(), []string{args}, new(strings.Builder)); err == nil {
			t.Errorf("%s was accepted", args)
		}
	}
}
