package simulator

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"strings"
	"testing"
)

// fromJWKS verifies a token with nothing but the published keys and the
// standard library, as another program would, and returns its claims.
func fromJWKS(t *testing.T, f *fixture, token string) (map[string]any, bool) {
	t.Helper()
	var set struct {
		Keys []struct{ Kid, N, E, Alg, Kty string }
	}
	f.send(http.MethodGet, "/.well-known/openid-configuration/jwks", "", "").decode(t, &set)
	parts := strings.Split(token, ".")
	var header struct{ Alg, Kid, Typ string }
	if err := json.Unmarshal(decode(t, parts[0]), &header); err != nil || header.Alg != "RS256" || header.Typ != "at+jwt" {
		t.Fatalf("header %+v, %v", header, err)
	}
	for _, key := range set.Keys {
		if key.Kid != header.Kid {
			continue
		}
		public := &rsa.PublicKey{
			N: new(big.Int).SetBytes(decode(t, key.N)),
			E: int(new(big.Int).SetBytes(decode(t, key.E)).Int64()),
		}
		digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
		if rsa.VerifyPKCS1v15(public, crypto.SHA256, digest[:], decode(t, parts[2])) != nil {
			return nil, false
		}
		var out map[string]any
		if err := json.Unmarshal(decode(t, parts[1]), &out); err != nil {
			t.Fatal(err)
		}
		return out, true
	}
	return nil, false
}

func decode(t *testing.T, segment string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(segment)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAccessTokenClaims(t *testing.T) {
	f := start(t)
	first := f.tokens(exchangeForm(f.code()))
	got, ok := fromJWKS(t, f, first.AccessToken)
	if !ok {
		t.Fatal("the JWKS does not verify the token")
	}
	now := float64(f.time.now().Unix())
	for name, want := range map[string]any{
		"iss": f.url, "aud": "data_api", "client_id": testID, "nbf": now, "iat": now, "exp": now + 3600,
		"auth_time": now, "connector_id": "mock", "idp": "local", "privacy_policy": privacyPolicy,
		"consent_expiry_time": now + 90*24*3600,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	for name, length := range map[string]int{
		"sub": 44, "jti": 32, "credentials_key": 64, "consent_id": 36, "connection_id": 36, "sid": 48,
	} {
		if text, _ := got[name].(string); len(text) != length {
			t.Errorf("%s is %v, want %d characters", name, got[name], length)
		}
	}
	if scope, _ := got["scope"].([]any); len(scope) != 4 || scope[0] != "verification" {
		t.Errorf("scope is %v", got["scope"])
	}
	if n := len(first.AccessToken); n < 1200 || n > 2000 {
		t.Errorf("the token has %d characters", n)
	}
	next, _ := fromJWKS(t, f, f.tokens(refreshForm(first.RefreshToken)).AccessToken)
	for _, name := range []string{"sub", "connection_id", "consent_id", "credentials_key"} {
		if next[name] != got[name] {
			t.Errorf("%s changed with the refresh", name)
		}
	}
	if next["jti"] == got["jti"] {
		t.Error("two tokens have one jti")
	}
}

func TestRotateKeys(t *testing.T) {
	f := start(t)
	old := f.tokens(exchangeForm(f.code())).AccessToken
	f.RotateKeys()
	fresh := f.tokens(exchangeForm(f.code())).AccessToken
	if strings.Split(old, ".")[0] == strings.Split(fresh, ".")[0] {
		t.Error("the new token has the old key's header")
	}
	for name, token := range map[string]string{"old": old, "fresh": fresh} {
		if _, ok := fromJWKS(t, f, token); !ok {
			t.Errorf("the %s token does not verify", name)
		}
	}
	f.RotateKeys()
	if _, ok := fromJWKS(t, f, old); ok {
		t.Error("the old token verifies after two rotations")
	}
	if r := f.get("/data/v1/me", old); r.status != 401 {
		t.Errorf("the old token opens the API: %d", r.status)
	}
}

func TestCheapSignatures(t *testing.T) {
	f := start(t)
	f.Set(func(s *Settings) { s.CheapSignatures = true })
	token := f.tokens(exchangeForm(f.code())).AccessToken
	if r := f.get("/data/v1/me", token); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
	if _, ok := fromJWKS(t, f, token); ok {
		t.Error("the JWKS verifies a checksum")
	}
	if r := f.get("/data/v1/me", token[:len(token)-4]+"AAAA"); r.status != 401 {
		t.Errorf("a wrong checksum: %d", r.status)
	}
}

func TestIssuerAndClockSkew(t *testing.T) {
	f := start(t)
	f.issuer = "https://auth.example.com"
	f.Set(func(s *Settings) { s.ClockSkew = 90e9 })
	got, _ := fromJWKS(t, f, f.tokens(exchangeForm(f.code())).AccessToken)
	if got["iss"] != "https://auth.example.com" || got["iat"] != float64(f.time.now().Unix()+90) {
		t.Errorf("iss %v, iat %v", got["iss"], got["iat"])
	}
}
