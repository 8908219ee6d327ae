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
	os.Exit(m.Run())
}

// TestRun runs the command as briefly as it goes, so that it does not rot; how
// fast anything is makes no difference here. The sweep would take minutes.
func TestRun(t *testing.T) {
	var out strings.Builder
	err := run(t.Context(), []string{
		"-only=duel,login,anonymous,scale", "-rounds=1", "-round-time=100ms", "-connections=2",
		"-sessions=20", "-anonymous=100", "-logins=10",
	}, &out)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []string{
		"| requests per second, of those of a bare reverse_proxy | at least 0.98 | ",
		"| CPU per login, the provider's not counted | at most 0.5 ms | ",
		"| growth of the heap over 100 requests without a session | none | ",
		"| requests per second with 20 sessions, of those with 1000 | at least 0.95 | ",
	} {
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
