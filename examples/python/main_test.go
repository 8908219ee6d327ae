package main

import (
	"net/http"
	"testing"

	"github.com/caddy-truelayer/caddy-truelayer/examples/internal/demotest"
)

// TestPython: the application says whether the user's name is that of the account,
// whoever the user says to be.
func TestPython(t *testing.T) {
	site := demotest.Start(t, example())
	v := demotest.NewVisitor(t, site)
	if answer := v.Open("/"); answer.StatusCode != http.StatusUnauthorized || answer.Location != "" {
		t.Errorf("without a password: %s, to %q", answer.Status, answer.Location)
	}
	v.User, v.Password = "John Doe", "wrong"
	if answer := v.Open("/"); answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("with a wrong password: %s", answer.Status)
	}

	v.Password = "example"
	if back := v.Connect(v.Open("/").Location); back != "/" {
		t.Fatalf("the callback leads to %q", back)
	}
	demotest.Contains(t, "the page of the holder", v.Open("/").Text, "<h1>John Doe — verified by the bank</h1>")
	v.User = "Jane Carter" // with the connection of John Doe
	demotest.Contains(t, "the page of another one", v.Open("/").Text, "<h1>Jane Carter — not the name on the bank account</h1>")

	v.Header = http.Header{"X-Name": {"John Doe"}, "X_Name": {"John Doe"}, "X-Name-Verified": {"match"}}
	demotest.Contains(t, "the page of one who sends the fields", v.Open("/").Text, "<h1>Jane Carter — not the name on the bank account</h1>")
}
