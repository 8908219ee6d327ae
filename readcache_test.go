package truelayer

import (
	"testing"
	"time"
)

// TestReadCache: what was read before a write is not kept after it, and
// nothing is kept for longer than was promised.
func TestReadCache(t *testing.T) {
	c := newReadCache(time.Minute)
	defer c.close()
	expires := time.Now().Add(time.Hour)
	before := c.startRead("id")
	c.forget("id") // a write, while the read is under way
	c.keep("id", []byte("old"), expires, before)
	if record, ok := c.get("id"); ok {
		t.Errorf("%q was kept over a write", record)
	}
	c.keep("id", []byte("new"), expires, c.startRead("id"))
	if record, ok := c.get("id"); !ok || string(record) != "new" {
		t.Errorf("got %q, %v", record, ok)
	}
	late := c.startRead("late")
	late.at = late.at.Add(-time.Minute) // a read that took a minute
	c.keep("late", []byte("old"), expires, late)
	if _, ok := c.get("late"); ok {
		t.Error("a record that was old already was kept")
	}
	c.keep("expired", []byte("old"), time.Now(), c.startRead("expired"))
	if _, ok := c.get("expired"); ok {
		t.Error("an expired record was kept")
	}
}
