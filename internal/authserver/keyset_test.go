package authserver

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestHostileKeySets: without a key set that can be read nothing is known about
// a token: it is neither accepted nor called forged, and nothing of what came
// in the set's place is repeated.
func TestHostileKeySets(t *testing.T) {
	good := rsaJWK(rsaKeyID, &rsaKeys()[0].PublicKey)
	set := keySetOf(good)
	body := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
	}
	elsewhere := newKeyServer(t, set)
	for name, respond := range map[string]http.HandlerFunc{
		"nothing":            body(``),
		"HTML":               body(`<h1>canary</h1>`),
		"null, and more":     body(`null canary`),
		"a list":             body(`[` + set + `]`),
		"a text":             body(`"canary"`),
		"keys that are none": body(`{"keys":"canary"}`),
		"a key that is none": body(`{"keys":["canary"]}`),
		"a key in pieces":    body(keySetOf(good, object{"kty": "RSA", "kid": "canary", "n": "canary"})),
		"an impossible key":  body(keySetOf(good, object{"kty": "EC", "kid": "canary", "crv": "P-256", "x": "Y2FuYXJ5", "y": "Y2FuYXJ5"})),
		"two sets":           body(set + set),
		"a byte order mark":  body("\ufeff" + set),
		"cut off":            body(set[:len(set)/2]),
		"nested":             body(`{"keys":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}`),
		"too large":          body(`{"x":"` + strings.Repeat("canary", maxKeySet/5) + `","keys":[]}`),
		"too large a tail":   body(set + strings.Repeat(" ", maxKeySet)),
		"endless":            func(w http.ResponseWriter, _ *http.Request) { endless(w, `{"keys":[`, strings.Repeat(" ", 4<<10)) },
		"compressed": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = io.WriteString(w, "\x1f\x8bcanary")
		},
		"elsewhere": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.url, http.StatusFound)
		},
		"elsewhere, for good": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.url, http.StatusPermanentRedirect)
		},
		"away": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, set)
		},
		"created": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, set)
		},
		"hanging up": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			keys := newKeyServer(t, "")
			keys.serve(respond)
			v := keys.verifier()
			token := NewSecret(signed(object{"alg": "RS256", "kid": rsaKeyID, "typ": "at+jwt"}, goodClaims(), rsaKeys()[0]))
			err := v.Verify(t.Context(), token)
			if !errors.Is(err, ErrKeysUnavailable) {
				t.Errorf("got %.200v", err)
			}
			if text := err.Error(); strings.Contains(text, "canary") || len(text) > 500 {
				t.Errorf("the error repeats the answer, in %d bytes: %.300s", len(text), text)
			}
			keys.serve(body(set))
			err = v.Verify(t.Context(), token)
			for i := 0; err != nil && i < 1000; i++ {
				runtime.Gosched() // go-oidc gives a fetch's result once more if asked at once
				err = v.Verify(t.Context(), token)
			}
			if err != nil {
				t.Errorf("when it is there again: %v", err)
			}
		})
	}
	if n := elsewhere.fetches(); n > 0 {
		t.Errorf("%d redirects were followed", n)
	}
}

// readerFunc is a function as an io.Reader.
type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// TestKeySetIsBounded: of an endless set no more is read than is needed to know.
func TestKeySetIsBounded(t *testing.T) {
	read := 0
	transport := &keySetTransport{now: time.Now, http: offline(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(readerFunc(func(b []byte) (int, error) {
			if read += len(b); read > 10*maxKeySet {
				return 0, io.ErrUnexpectedEOF
			}
			return copy(b, bytes.Repeat([]byte(" "), len(b))), nil
		}))}, nil
	})}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, offlineURL, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := transport.RoundTrip(req); !errors.Is(err, ErrKeysUnavailable) {
		_ = resp.Body.Close()
		t.Errorf("got %v", err)
	}
	if read > 2*maxKeySet {
		t.Errorf("%d bytes were asked for", read)
	}
}

// TestUselessKeySets are sets that can be read and lack the key.
func TestUselessKeySets(t *testing.T) {
	rsaKey, stranger := rsaKeys()[0], rsaKeys()[1]
	token := NewSecret(signed(object{"alg": "RS256", "kid": rsaKeyID, "typ": "at+jwt"}, goodClaims(), rsaKey))
	for name, set := range map[string]string{
		"null":                        `null`,
		"an object":                   `{}`,
		"no keys":                     `{"keys":[]}`,
		"keys null":                   `{"keys":null}`,
		"another key":                 keySetOf(rsaJWK("another", &rsaKey.PublicKey)),
		"another key under its id":    keySetOf(rsaJWK(rsaKeyID, &stranger.PublicKey)),
		"another kind of key":         keySetOf(ecJWK(rsaKeyID, &ecKey.PublicKey)),
		"a shared secret":             keySetOf(object{"kty": "oct", "kid": rsaKeyID, "k": "c2hhcmVk"}),
		"a kind of key nobody has":    keySetOf(object{"kty": "canary", "kid": rsaKeyID}),
		"an algorithm nobody has":     keySetOf(rsaJWK(rsaKeyID, &rsaKey.PublicKey).and(object{"alg": "canary"})),
		"a key in another spelling":   strings.Replace(keySetOf(rsaJWK(rsaKeyID, &rsaKey.PublicKey)), `"keys"`, `"kéys"`, 1),
		"the key id in other letters": keySetOf(rsaJWK(strings.ToUpper(rsaKeyID), &rsaKey.PublicKey)),
	} {
		keys := newKeyServer(t, set)
		v := keys.verifier()
		for range 3 {
			err := v.Verify(t.Context(), token)
			if err == nil {
				t.Errorf("%s: accepted", name)
			} else if text := err.Error(); strings.Contains(text, "canary") || len(text) > 300 {
				t.Errorf("%s: the error repeats the set: %.300s", name, text)
			}
		}
		if n := keys.fetches(); n != 1 {
			t.Errorf("%s: the keys were fetched %d times", name, n)
		}
	}
}

// TestStallingKeySet: a fetch ends for whoever waits with their context, and by
// itself with the client's timeout.
func TestStallingKeySet(t *testing.T) {
	t.Parallel()
	token := NewSecret(signed(object{"alg": "RS256", "kid": rsaKeyID, "typ": "at+jwt"}, goodClaims(), rsaKeys()[0]))
	verifier := func(base string) *Verifier {
		return NewVerifier(base, testIssuer, "client", func() time.Time { return verifyAt })
	}
	if timeout := verifier("https://auth.example").keys.http.timeout; timeout != requestTimeout {
		t.Fatalf("a fetch may take %v", timeout)
	}
	for name, base := range stalling(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := verifier(base)
			v.keys.http.timeout = 50 * time.Millisecond
			if err := v.Verify(t.Context(), token); !errors.Is(err, ErrKeysUnavailable) {
				t.Errorf("bound by the client: %v", err)
			}
			v = verifier(base)
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if err := v.Verify(ctx, token); !errors.Is(err, ErrKeysUnavailable) {
				t.Errorf("bound by its context: %v", err)
			}
		})
	}
}

// FuzzKeySet: whatever is served in a key set's place, a token passes only if
// its key is in it, and no error repeats what was served.
func FuzzKeySet(f *testing.F) {
	mine := ecJWK(ecKeyID, &ecKey.PublicKey)
	f.Add([]byte(keySetOf(mine)))
	f.Add([]byte(keySetOf(ecJWK(ecKeyID, &newECKey(2).PublicKey))))
	f.Add([]byte(keySetOf(mine, object{"kty": "RSA", "kid": "x", "n": "AQAB"}, object{"kty": "oct", "k": "AAAA"})))
	x, _ := mine["x"].(string)
	f.Add([]byte(keySetOf(mine.and(object{"x": x[:42] + string(x[42]+1)})))) // its last two bits stand for nothing
	f.Add([]byte(`{"keys":null}`))
	f.Add([]byte(`[]`))
	token := NewSecret(signed(object{"alg": "ES256", "kid": ecKeyID, "typ": "at+jwt"}, goodClaims(), ecKey))
	coordinate, _ := base64.RawURLEncoding.DecodeString(x)
	f.Fuzz(func(t *testing.T, set []byte) {
		err := offlineVerifier(set).Verify(t.Context(), token)
		if err == nil {
			// one coordinate of the key is enough to find, in whatever spelling
			var published any
			if json.Unmarshal(set, &published) != nil || !holds(published, coordinate) {
				t.Errorf("passed with %q", set)
			}
			return
		}
		if len(err.Error()) > 300 {
			t.Errorf("an error of %d bytes: %.300s", len(err.Error()), err)
		}
	})
}

// holds reports whether data is somewhere in a JSON value, in base64url.
func holds(value any, data []byte) bool {
	switch value := value.(type) {
	case string:
		decoded, err := base64.RawURLEncoding.DecodeString(value)
		return err == nil && bytes.Equal(decoded, data)
	case []any:
		for _, v := range value {
			if holds(v, data) {
				return true
			}
		}
	case map[string]any:
		for _, v := range value {
			if holds(v, data) {
				return true
			}
		}
	}
	return false
}
