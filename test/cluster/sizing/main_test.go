package main

import (
	"strings"
	"testing"
	"time"
)

// TestRun simulates a site that is as small as one can be. How much it takes makes no
// difference here, but that everything is counted does.
func TestRun(t *testing.T) {
	o, err := parse(strings.Fields("-sessions 200 -in-use 50 -nodes 3 -visit 4h -pause 500ms -token 5s -delay 10ms -warm 100ms -for 2s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir("..") // the command is run there
	var out strings.Builder
	phases := run(t, o, &out)
	for _, want := range []string{"200 sessions began in ", "| refreshes a second | ", "| commands a second | "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in what was printed:\n%s", want, &out)
		}
	}
	var refreshes, writes, reads, restarted int
	for _, p := range phases {
		refreshes, writes, reads = refreshes+int(p.allRefreshes()), writes+int(p.allWrites()), reads+int(p.allReads())
		restarted += len(p.answers.tookFresh)
		if p.answers.served() == 0 {
			t.Errorf("%s: no page was served", p.name)
		}
		for what, n := range p.answers.others {
			if !strings.HasPrefix(what, "connection lost") {
				t.Errorf("%s: %d %s", p.name, n, what)
			}
		}
	}
	if refreshes == 0 || writes == 0 || reads == 0 || restarted == 0 {
		t.Errorf("%d refreshes, %d writes, %d reads, %d pages of nodes that had started again", refreshes, writes, reads, restarted)
	}
}

// TestPast: as many visits are in progress as are asked for, and of the other sessions' tokens
// some have expired.
func TestPast(t *testing.T) {
	o, err := parse([]string{"-sessions=10000"})
	if err != nil {
		t.Fatal(err)
	}
	var inUse, expired int
	for range o.sessions {
		p := o.newPast()
		if p.noted < 0 || p.issued < p.noted || p.noted > idleTimeout {
			t.Fatalf("%+v", p)
		}
		switch {
		case p.inUse:
			inUse++
		case p.issued > time.Hour:
			expired++
		}
	}
	if inUse < o.inUse*9/10 || inUse > o.inUse*11/10 || expired < o.sessions/3 || expired > o.sessions*2/3 {
		t.Errorf("of %d sessions %d are in use, and the tokens of %d others have expired", o.sessions, inUse, expired)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, args := range []string{"extra", "-sessions=x", "-sessions=10 -in-use=6", "-nodes=1", "-primaries=2", "-pause=0s", "-visit=9h", "-token=0s", "-for=-1s"} {
		if _, err := parse(strings.Fields(args)); err == nil {
			t.Errorf("%s was accepted", args)
		}
	}
}
