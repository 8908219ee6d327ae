package authserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
)

// UsableKeys fetches the key set at a URL, and returns how many of its keys a Verifier
// can use. It is for operators; a Verifier reads its keys by itself.
func UsableKeys(ctx context.Context, keySetURL string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, keySetURL, nil)
	if err != nil {
		return 0, err
	}
	client := newHTTPClient()
	defer client.CloseIdleConnections()
	status, _, body, err := client.do(req, maxKeySet)
	if err != nil {
		return 0, err
	}
	if status != http.StatusOK {
		return 0, fmt.Errorf("unexpected answer with status %d", status)
	}
	var set struct {
		Keys []publicKey `json:"keys"`
	}
	if json.Unmarshal(body, &set) != nil || set.Keys == nil {
		return 0, errors.New("the answer is not a key set")
	}
	usable := 0
	for _, key := range set.Keys {
		if key.isUsable() {
			usable++
		}
	}
	return usable, nil
}

// publicKey is a key of a set (RFC 7517 section 4, RFC 7518 section 6).
type publicKey struct {
	Type      string `json:"kty"`
	Use       string `json:"use"`
	Algorithm string `json:"alg"`
	Curve     string `json:"crv"`
	Modulus   string `json:"n"`
	Exponent  string `json:"e"`
	X         string `json:"x"`
	Y         string `json:"y"`
}

// isUsable reports whether the key can check signatures of an algorithm that
// NewVerifier accepts.
func (k *publicKey) isUsable() bool {
	if k.Use != "" && k.Use != "sig" {
		return false
	}
	switch k.Type {
	case "RSA":
		return k.Modulus != "" && k.Exponent != "" && slices.Contains([]string{"", "RS256", "PS256"}, k.Algorithm)
	case "EC":
		return k.X != "" && k.Y != "" && k.Curve == "P-256" && slices.Contains([]string{"", "ES256"}, k.Algorithm)
	}
	return false
}
