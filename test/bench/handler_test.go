package bench

import (
	"net/http"
	"testing"
)

// visitors is how many sessions are measured in turn, so that their records
// are not all in the processor's first caches.
const visitors = 1000

// BenchmarkHandler is what the handler alone does with a request. A request
// with a session is meant to take at most 3 µs and 12 allocations.
func BenchmarkHandler(b *testing.B) {
	b.Run("session", func(b *testing.B) {
		h := newHandler(b, MemoryStore(100_000), "")
		requests := make([]string, visitors)
		for i := range requests {
			requests[i] = Navigation("/account", h.signIn(b))
		}
		h.measure(b, 0, requests)
	})
	b.Run("session among other cookies", func(b *testing.B) {
		h := newHandler(b, MemoryStore(100_000), "")
		cookie := "theme=dark; " + h.signIn(b) + "; lang=en; _ga=GA1.1.1234567890.1234567890"
		h.measure(b, 0, []string{Navigation("/account", cookie)})
	})
	b.Run("anonymous navigation", func(b *testing.B) {
		h := newHandler(b, MemoryStore(100_000), "")
		h.measure(b, http.StatusSeeOther, []string{Navigation("/account", "")})
	})
	b.Run("anonymous script", func(b *testing.B) {
		h := newHandler(b, MemoryStore(100_000), "")
		h.measure(b, http.StatusUnauthorized, []string{Script("/account", "")})
	})
	b.Run("unprotected", func(b *testing.B) {
		h := newHandler(b, MemoryStore(100_000), "/account*")
		h.measure(b, 0, []string{Navigation("/", "theme=dark")})
	})
}

// BenchmarkPrepare is what Caddy itself, and the reading of a request from a
// string, cost before the handler is called: it is in none of the others.
func BenchmarkPrepare(b *testing.B) {
	h := newHandler(b, MemoryStore(100_000), "")
	text := Navigation("/account", h.signIn(b))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h.prepare(text); err != nil {
			b.Fatal(err)
		}
	}
}
