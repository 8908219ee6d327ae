package cluster

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
)

// Token is what an access token says of itself.
type Token struct {
	ID      string `json:"jti"`
	Subject string `json:"sub"` // the connection
	Expires int64  `json:"exp"`
}

// readToken reads a token that this process's own simulator issued.
func readToken(access string) (t Token) {
	parts := strings.Split(access, ".")
	if len(parts) != 3 {
		return Token{}
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(payload, &t) != nil {
		return Token{}
	}
	return t
}

// Application is what stands behind the nodes. It answers with the token that
// it was sent, and remembers it.
type Application struct {
	server *httptest.Server

	mu   sync.Mutex
	seen map[string]bool // tokens, by id
}

func newApplication(o Owner) *Application {
	a := &Application{seen: make(map[string]bool)}
	a.server = serve(o, a)
	return a
}

// ServeHTTP implements http.Handler.
func (a *Application) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token := readToken(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	a.mu.Lock()
	a.seen[token.ID] = true
	a.mu.Unlock()
	_ = json.NewEncoder(w).Encode(token)
}

// Saw reports whether a token arrived, in any request.
func (a *Application) Saw(tokenID string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.seen[tokenID]
}
