package bench

import (
	"net/http"
	"testing"
)

// BenchmarkHandler is what the handler alone does with a request.
func BenchmarkHandler(b *testing.B) {
	b.Run("session", Session)
	b.Run("session among other cookies", func(b *testing.B) {
		h := start(b, "")
		cookie := "theme=dark; " + signIn(b, h) + "; lang=en; _ga=GA1.1.1234567890.1234567890"
		h.Measure(b, 0, []string{Navigation("/account", cookie)})
	})
	b.Run("anonymous navigation", func(b *testing.B) {
		start(b, "").Measure(b, http.StatusSeeOther, []string{Navigation("/account", "")})
	})
	b.Run("anonymous script", func(b *testing.B) {
		start(b, "").Measure(b, http.StatusUnauthorized, []string{Script("/account", "")})
	})
	b.Run("unprotected", func(b *testing.B) {
		start(b, "/account*").Measure(b, 0, []string{Navigation("/", "theme=dark")})
	})
}

// BenchmarkPrepare is what Caddy itself, and the reading of a request from a
// string, cost before the handler is called: it is in none of the others.
func BenchmarkPrepare(b *testing.B) {
	h := start(b, "")
	text := Navigation("/account", signIn(b, h))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h.prepare(text); err != nil {
			b.Fatal(err)
		}
	}
}

func start(b *testing.B, matcher string) *Handler {
	b.Helper()
	h, err := NewHandler(matcher)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(h.Close)
	return h
}

func signIn(b *testing.B, h *Handler) string {
	b.Helper()
	cookie, err := h.Login()
	if err != nil {
		b.Fatal(err)
	}
	return cookie
}
