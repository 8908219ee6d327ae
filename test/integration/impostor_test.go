package integration

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"unicode/utf16"
)

// impostor answers in the auth server's place what a test wants it to, and
// leaves the rest to the simulator.
type impostor struct {
	server  *httptest.Server
	sim     http.Handler
	secrets *secrets

	mu     sync.Mutex
	answer map[string]http.HandlerFunc // by path
	asked  map[string]int
}

const (
	tokenPath  = "/connect/token"
	keySetPath = "/.well-known/openid-configuration/jwks"
)

// startImpostor runs Caddy with an impostor for the auth server.
func startImpostor(t *testing.T, set func(*world)) (*world, *impostor) {
	t.Helper()
	return startWithImpostor(t, plain, set)
}

func startWithImpostor(t *testing.T, caddyfile string, set func(*world)) (*world, *impostor) {
	t.Helper()
	i := &impostor{answer: make(map[string]http.HandlerFunc), asked: make(map[string]int)}
	w := start(t, caddyfile, func(w *world) {
		i.sim, i.secrets = w.sim, &w.secrets
		i.server = httptest.NewServer(i)
		t.Cleanup(i.server.Close)
		w.AuthServer = i.server.URL
		if set != nil {
			set(w)
		}
	})
	return w, i
}

// ServeHTTP has read the request before it answers, so that whoever answers
// can repeat it, and the client is not busy sending.
func (i *impostor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	i.asked[r.URL.Path]++
	answer := i.answer[r.URL.Path]
	i.mu.Unlock()
	if answer == nil {
		i.sim.ServeHTTP(w, r)
		return
	}
	_ = r.ParseForm()
	for _, name := range []string{"code", "code_verifier", "refresh_token"} {
		i.secrets.add(r.PostForm.Get(name))
	}
	answer(w, r)
}

// answers sets what a path is answered with, nil for the simulator's answer.
func (i *impostor) answers(path string, answer http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answer[path] = answer
}

func (i *impostor) calls(path string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked[path]
}

// says answers with a body that calls itself JSON.
func says(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, body)
	}
}

// raw answers with bytes that need not be HTTP.
func raw(answer func(conn net.Conn, r *http.Request)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		answer(conn, r)
	}
}

// endless writes until the client has had enough.
func endless(start, piece string) http.HandlerFunc {
	return raw(func(conn net.Conn, _ *http.Request) {
		_, err := io.WriteString(conn, start)
		for err == nil {
			_, err = io.WriteString(conn, piece)
		}
	})
}

// elsewhere sends the client to another host, in every way there is.
func elsewhere(status int, host string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "http://"+host+r.URL.Path)
		w.Header().Set("Refresh", "0; url=http://"+host)
		w.Header().Set("Content-Location", "http://"+host)
		w.WriteHeader(status)
	}
}

// compressed is a megabyte that nobody asked for, in a kilobyte.
func compressed(t *testing.T, body string) http.HandlerFunc {
	t.Helper()
	var b bytes.Buffer
	packer := gzip.NewWriter(&b)
	_, err := io.WriteString(packer, body+strings.Repeat(" ", 1<<20))
	if err := errors.Join(err, packer.Close()); err != nil {
		t.Fatal(err)
	}
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(b.Bytes())
	}
}

// inUTF16 is text with two bytes for each letter.
func inUTF16(text string) string {
	var b []byte
	for _, unit := range utf16.Encode([]rune("\ufeff" + text)) {
		b = binary.BigEndian.AppendUint16(b, unit)
	}
	return string(b)
}
