package bench

import "testing"

// visitors is how many sessions are measured in turn, so that their records
// are not all in the processor's first caches.
const visitors = 1000

// Session measures the handler alone with requests of visitors who are signed
// in. It works outside of go test as well.
func Session(b *testing.B) {
	h, err := NewHandler("")
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	requests := make([]string, visitors)
	for i := range requests {
		cookie, err := h.Login()
		if err != nil {
			b.Fatal(err)
		}
		requests[i] = Navigation("/account", cookie)
	}
	h.Measure(b, 0, requests)
}
