package authserver

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// keyServer serves a key set and counts who asks for it.
type keyServer struct {
	url     string
	mu      sync.Mutex
	asked   int
	respond http.HandlerFunc
}

func newKeyServer(t *testing.T, set string) *keyServer {
	t.Helper()
	k := &keyServer{}
	k.serve(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, set) })
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		k.mu.Lock()
		k.asked++
		respond := k.respond
		k.mu.Unlock()
		respond(w, r)
	}))
	t.Cleanup(server.Close)
	k.url = server.URL
	return k
}

func (k *keyServer) serve(respond http.HandlerFunc) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.respond = respond
}

func (k *keyServer) fetches() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.asked
}

func (k *keyServer) verifier() *Verifier {
	return NewVerifier(k.url, testIssuer, "client", func() time.Time { return verifyAt })
}

// TestVerify: a token that is not exactly what the configured auth server gave
// to this client is refused, with an error that repeats nothing of it. What
// comes with a token never leads to a key.
func TestVerify(t *testing.T) {
	rsaKey, stranger, ecStranger := rsaKeys()[0], rsaKeys()[1], newECKey(2)
	shared := bytes.Repeat([]byte("s"), 32)
	elsewhere := newKeyServer(t, keySetOf(rsaJWK(rsaKeyID, &stranger.PublicKey)))
	set := keySetOf(
		rsaJWK(rsaKeyID, &rsaKey.PublicKey), ecJWK(ecKeyID, &ecKey.PublicKey),
		object{"kty": "oct", "kid": "shared", "alg": "HS256", "k": base64.RawURLEncoding.EncodeToString(shared)},
		object{"kty": "oct", "kid": "any", "k": base64.RawURLEncoding.EncodeToString(shared)},
	)
	rs := object{"alg": "RS256", "kid": rsaKeyID, "typ": "at+jwt"}
	es := object{"alg": "ES256", "kid": ecKeyID, "typ": "at+jwt"}
	claims := goodClaims()
	withClaims := func(changes object) string { return signed(rs, claims.and(changes), rsaKey) }
	withHeader := func(changes object) string { return signed(rs.and(changes), claims, rsaKey) }
	byStranger := func(changes object) string { return signed(rs.and(changes), claims, stranger) }
	der, err := x509.MarshalPKIXPublicKey(&rsaKey.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	hs256 := func(secret []byte) string { return signed(rs.and(object{"alg": "HS256"}), claims, secret) }
	good := signed(rs, claims, rsaKey)
	head, rest, _ := strings.Cut(good, ".")
	payload, signature, _ := strings.Cut(rest, ".")

	for name, raw := range map[string]string{
		"nothing":                     "",
		"opaque":                      "canary-opaque",
		"two dots":                    "..",
		"no signature":                head + "." + payload,
		"an empty signature":          head + "." + payload + ".",
		"a part too many":             good + ".canary",
		"cut off":                     good[:len(good)-1],
		"as JSON":                     `{"payload":"` + payload + `","protected":"` + head + `","signature":"` + signature + `"}`,
		"detached":                    head + ".." + signature,
		"another payload":             head + "." + part(claims.and(object{"sub": "canary"})) + "." + signature,
		"another header":              part(rs.and(object{"x": 1})) + "." + payload + "." + signature,
		"huge":                        head + "." + payload + "." + strings.Repeat("canary00", 1<<17),
		"HMAC with the key, PEM":      hs256(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
		"HMAC with the key, PKCS1":    hs256(pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&rsaKey.PublicKey)})),
		"HMAC with the key, DER":      hs256(der),
		"HMAC with the modulus":       hs256(rsaKey.N.Bytes()),
		"HMAC with the key set":       hs256([]byte(set)),
		"HMAC with nothing":           hs256(nil),
		"HMAC under the type RSA":     signed(rs, claims, der),
		"HMAC with a published key":   signed(object{"alg": "HS256", "kid": "shared", "typ": "at+jwt"}, claims, shared),
		"HMAC with another of those":  signed(object{"alg": "HS256", "kid": "any", "typ": "at+jwt"}, claims, shared),
		"none":                        part(rs.and(object{"alg": "none"})) + "." + payload + ".",
		"none, with a signature":      withHeader(object{"alg": "none"}),
		"None":                        part(rs.and(object{"alg": "None"})) + "." + payload + ".",
		"nOnE without a key id":       part(rs.and(object{"alg": "nOnE", "kid": nil})) + "." + payload + ".",
		"no algorithm":                withHeader(object{"alg": nil}),
		"an empty algorithm":          withHeader(object{"alg": ""}),
		"an algorithm that is a list": withHeader(object{"alg": []string{"RS256"}}),
		"an unknown algorithm":        withHeader(object{"alg": "canary"}),
		"RS512, signed with 256":      withHeader(object{"alg": "RS512"}),
		"PS256, signed as RS256":      part(rs.and(object{"alg": "PS256"})) + "." + payload + "." + signature,
		"ES256 with the RSA key":      signed(es.and(object{"kid": rsaKeyID}), claims, ecKey),
		"RS256 with the EC key":       signed(rs.and(object{"kid": ecKeyID}), claims, rsaKey),
		"an unknown key":              signed(rs.and(object{"kid": "canary"}), claims, stranger),
		"an unknown key, EC":          signed(es.and(object{"kid": "canary"}), claims, ecStranger),
		"another's key":               byStranger(nil),
		"another's key, EC":           signed(es, claims, ecStranger),
		"another's key, no key id":    byStranger(object{"kid": nil}),
		"a key id that is a path":     byStranger(object{"kid": "../../../dev/null"}),
		"a key id that is a number":   withHeader(object{"kid": 7}),
		"its key in the header":       byStranger(object{"jwk": rsaJWK(rsaKeyID, &stranger.PublicKey)}),
		"its key there, no id":        byStranger(object{"kid": nil, "jwk": rsaJWK("", &stranger.PublicKey)}),
		"a secret key in the header":  byStranger(object{"jwk": object{"kty": "oct", "k": "c2hhcmVk"}}),
		"the address of its key":      byStranger(object{"jku": elsewhere.url}),
		"the address of a cert":       byStranger(object{"x5u": elsewhere.url}),
		"a certificate":               byStranger(object{"x5c": []string{base64.StdEncoding.EncodeToString(der)}}),
		"all of them":                 byStranger(object{"jku": elsewhere.url, "x5u": elsewhere.url, "jwk": rsaJWK(rsaKeyID, &stranger.PublicKey)}),
		"a critical extension":        withHeader(object{"crit": []string{"exp"}}),
		"white space in it":           strings.Replace(good, ".", ".\v", 1),
		"a line break in it":          strings.Replace(good, ".", "\n.", 1),
		"type JWT":                    withHeader(object{"typ": "JWT"}),
		"type at+jwt of another kind": withHeader(object{"typ": "text/at+jwt"}),
		"type logout+jwt":             withHeader(object{"typ": "logout+jwt"}),
		"type with a blank":           withHeader(object{"typ": "at+jwt "}),
		"type that is a list":         withHeader(object{"typ": []string{"at+jwt"}}),
		"no type":                     withHeader(object{"typ": nil}),
		"type under another name":     withHeader(object{"typ": nil, "TYP": "at+jwt"}),
		"type under two names":        withHeader(object{"TYP": "at+jwt", "typ": "JWT"}),
		"a header that is no object":  part([]string{"RS256"}) + "." + payload + "." + signature,
		"claims that are no object":   signed(rs, nil, rsaKey),
		"another issuer":              withClaims(object{"iss": "https://other.example"}),
		"issuer with a slash":         withClaims(object{"iss": testIssuer + "/"}),
		"issuer in capitals":          withClaims(object{"iss": strings.ToUpper(testIssuer)}),
		"issuer without https":        withClaims(object{"iss": "auth.example"}),
		"issuer that is a list":       withClaims(object{"iss": []string{testIssuer}}),
		"no issuer":                   withClaims(object{"iss": nil}),
		"another client":              withClaims(object{"client_id": "canary"}),
		"client in capitals":          withClaims(object{"client_id": "CLIENT"}),
		"client that is a list":       withClaims(object{"client_id": []string{"client"}}),
		"client in the audience":      withClaims(object{"client_id": nil, "aud": "client"}),
		"client as the azp":           withClaims(object{"client_id": nil, "azp": "client"}),
		"no client":                   withClaims(object{"client_id": nil}),
		"client under another name":   withClaims(object{"client_id": nil, "Client_ID": "client"}),
		"expired":                     withClaims(object{"exp": verifyAt.Unix() - 1}),
		"expired long ago":            withClaims(object{"exp": 0}),
		"expired before 1970":         withClaims(object{"exp": -verifyAt.Unix()}),
		"no expiry":                   withClaims(object{"exp": nil}),
		"an expiry that is a text":    withClaims(object{"exp": "tomorrow"}),
		"an expiry that is a date":    withClaims(object{"exp": "2999-01-01T00:00:00Z"}),
		"an expiry that is a list":    withClaims(object{"exp": []int64{verifyAt.Unix() + 60}}),
		"an expiry that is true":      withClaims(object{"exp": true}),
		"not yet valid":               withClaims(object{"nbf": verifyAt.Add(time.Hour).Unix()}),
		"issued in the future":        withClaims(object{"iat": verifyAt.Add(time.Hour).Unix()}),
	} {
		t.Run(name, func(t *testing.T) {
			keys := newKeyServer(t, set)
			v := keys.verifier()
			err := v.Verify(t.Context(), NewSecret(raw))
			if err == nil {
				t.Fatal("accepted")
			}
			if errors.Is(err, ErrKeysUnavailable) {
				t.Errorf("not refused, but: %v", err)
			}
			if text := err.Error(); strings.Contains(text, "canary") || len(text) > 300 {
				t.Errorf("the error repeats the token: %.300s", text)
			}
			if err := v.Verify(t.Context(), NewSecret(good)); err != nil {
				t.Errorf("a good token afterwards: %v", err)
			}
			if n := keys.fetches(); n != 1 {
				t.Errorf("the keys were fetched %d times", n)
			}
		})
	}
	if n := elsewhere.fetches(); n > 0 {
		t.Errorf("a token made %d requests to an address in it", n)
	}
}

// TestVerifyAccepts: what RFC 9068 allows, and clocks that do not agree quite.
func TestVerifyAccepts(t *testing.T) {
	rsaKey := rsaKeys()[0]
	keys := newKeyServer(t, keySetOf(ecJWK(ecKeyID, &ecKey.PublicKey), rsaJWK(rsaKeyID, &rsaKey.PublicKey).and(object{"alg": nil})))
	v := keys.verifier()
	rs := object{"alg": "RS256", "kid": rsaKeyID, "typ": "at+jwt"}
	claims := goodClaims()
	for name, raw := range map[string]string{
		"RS256":                   signed(rs, claims, rsaKey),
		"PS256":                   signed(rs.and(object{"alg": "PS256"}), claims, rsaKey),
		"ES256":                   signed(rs.and(object{"alg": "ES256", "kid": ecKeyID}), claims, ecKey),
		"no key id":               signed(rs.and(object{"kid": nil}), claims, rsaKey),
		"the whole type":          signed(rs.and(object{"typ": "application/at+jwt"}), claims, rsaKey),
		"the type in capitals":    signed(rs.and(object{"typ": "AT+JWT"}), claims, rsaKey),
		"a clock behind by 4m":    signed(rs, claims.and(object{"nbf": verifyAt.Unix() + 240, "iat": verifyAt.Unix() + 240}), rsaKey),
		"neither nbf nor iat":     signed(rs, claims.and(object{"nbf": nil, "iat": nil}), rsaKey),
		"several audiences":       signed(rs, claims.and(object{"aud": []string{"a", "b"}}), rsaKey),
		"a key address it ignore": signed(rs.and(object{"jku": "https://elsewhere.example/jwks", "x5u": "https://elsewhere.example/x"}), claims, rsaKey),
		"large":                   signed(rs, claims.and(object{"x": strings.Repeat("x", maxAccessToken/2)}), rsaKey),
	} {
		if err := v.Verify(t.Context(), NewSecret(raw)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := keys.fetches(); n != 1 {
		t.Errorf("the keys were fetched %d times", n)
	}
}

// roundTripFunc is a function as an http.RoundTripper.
type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// offlineURL is an address of what offline serves.
const offlineURL = "offline://auth.example/jwks"

// offline is a client that is answered without a network.
func offline(answer roundTripFunc) *httpClient {
	c := newHTTPClient()
	c.transport.Load().RegisterProtocol("offline", answer)
	return c
}

// offlineVerifier is served the same key set each time.
func offlineVerifier(set []byte) *Verifier {
	v := NewVerifier(offlineURL, testIssuer, "client", func() time.Time { return verifyAt })
	v.keys.http = offline(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(set))}, nil
	})
	return v
}

// FuzzVerify: whatever is made of a good token, what passes has the same claims.
func FuzzVerify(f *testing.F) {
	es := object{"alg": "ES256", "kid": ecKeyID, "typ": "at+jwt"}
	good := signed(es, goodClaims(), ecKey)
	f.Add(good)
	f.Add(part(es.and(object{"alg": "none"})) + "." + part(goodClaims()) + ".")
	f.Add(signed(es.and(object{"alg": "HS256"}), goodClaims(), []byte(keySetOf(ecJWK(ecKeyID, &ecKey.PublicKey)))))
	f.Add(signed(es.and(object{"jwk": ecJWK(ecKeyID, &newECKey(2).PublicKey)}), goodClaims(), newECKey(2)))
	f.Add(signed(es, goodClaims().and(object{"exp": nil}), ecKey))
	f.Add(strings.Replace(good, ".", ".\v", 1))
	f.Add("{}")
	want := readClaims(good)
	v := offlineVerifier([]byte(keySetOf(ecJWK(ecKeyID, &ecKey.PublicKey))))
	f.Fuzz(func(t *testing.T, raw string) {
		if err := v.Verify(t.Context(), NewSecret(raw)); err != nil {
			return
		}
		if got := readClaims(raw); got != want {
			t.Errorf("%q passed, with %+v", raw, got)
		}
	})
}
