package main

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-truelayer/caddy-truelayer/test/simulator"
)

func TestRunServesUntilToldToStop(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stdout, write := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, []string{"-listen", "127.0.0.1:0", "-redirect-uri", "https://a.example.com/b"}, write, io.Discard)
	}()
	line := make([]byte, 100)
	n, err := stdout.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	base, ok := strings.CutPrefix(strings.TrimSpace(string(line[:n])), "ready: ")
	if !ok {
		t.Fatalf("it says %q", line[:n])
	}
	callback, err := simulator.Approve(t.Context(), &http.Client{},
		base+"/?response_type=code&client_id=sandbox-simulator&scope=verification&redirect_uri=https://a.example.com/b")
	if err != nil || !strings.HasPrefix(callback, "https://a.example.com/b?code=") {
		t.Errorf("%s, %v", callback, err)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestRunRefuses(t *testing.T) {
	for _, args := range [][]string{
		{"-redirect-uri", "/b"}, {"-listen", "nowhere"}, {"-unknown"}, {"stray"}, {"-client-id", ""},
	} {
		if err := run(t.Context(), args, io.Discard, io.Discard); err == nil {
			t.Errorf("run accepts %q", args)
		}
	}
}
