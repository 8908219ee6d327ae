package vouch

import (
	"testing"
	"time"
)

// TestCarry: a renewed connection keeps the name that the visitor has given and what it has
// cost to guess, but no word of the bank's, which was on a key of the old session.
func TestCarry(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	old := State{Claimed: "Ada Byron"}
	names := []string{"one", "two", "three"}
	for _, name := range names {
		old = old.with(Key([]byte("old"), name), State{Result: Match, Score: 90, Holder: "Ada Byron"}, now)
	}
	carried := Read(Carry(old.Append()))
	if carried.Result != NotAsked || carried.Holder != "" || carried.key != "" || carried.Claimed != "Ada Byron" {
		t.Errorf("%+v", carried)
	}
	last := Key([]byte("new"), "three")
	if !carried.mayTry(last, now) {
		t.Error("the last name cannot be asked about any more")
	}
	carried = carried.with(last, State{Result: Match}, now)
	if carried.names != old.names || carried.minuteNames != old.minuteNames || carried.mayTry(Key([]byte("new"), "four"), now) {
		t.Errorf("%+v, before it %+v", carried, old)
	}
	for _, kept := range []string{"", "nothing of ours"} {
		if got := Carry(kept); got != "" {
			t.Errorf("%q becomes %q", kept, got)
		}
	}
}
