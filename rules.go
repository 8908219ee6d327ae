package truelayer

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// rule is the scopes that a truelayer_require requires. Links name a rule, and not its
// scopes: nobody can have a visitor asked for more than the configuration says (RFC 9700
// section 2.3).
type rule struct{ scopes []string }

// ruleKey names a rule of a server. Each configuration has servers of its own.
type ruleKey struct {
	server *caddyhttp.Server
	id     string
}

// rules holds the rules of all configurations that are loaded.
var rules = caddy.NewUsagePool()

// Destruct implements caddy.Destructor.
func (rule) Destruct() error { return nil }

// ruleID returns the id of the rule for scopes. It is the same on every node.
func ruleID(scopes []string) string {
	digest := sha256.Sum256([]byte(strings.Join(slices.Sorted(slices.Values(scopes)), " ")))
	return hex.EncodeToString(digest[:8])
}

// joinRules adds a rule to those of a server, and returns its key. leaveRules removes it.
func joinRules(server *caddyhttp.Server, scopes []string) (ruleKey, error) {
	key := ruleKey{server, ruleID(scopes)}
	_, _, err := rules.LoadOrNew(key, func() (caddy.Destructor, error) { return rule{scopes}, nil })
	return key, err
}

func leaveRules(key ruleKey) error {
	_, err := rules.Delete(key)
	return err
}

// hasRuleFor reports whether one of a server's rules requires a scope.
func hasRuleFor(server *caddyhttp.Server, scope string) (found bool) {
	rules.Range(func(key, value any) bool {
		found = key.(ruleKey).server == server && slices.Contains(value.(rule).scopes, scope)
		return !found
	})
	return found
}

// ruleScopes returns the scopes of a server's rule, nil if there is none with the id.
func ruleScopes(server *caddyhttp.Server, id string) (scopes []string) {
	rules.Range(func(key, value any) bool {
		if key == any(ruleKey{server, id}) {
			scopes = value.(rule).scopes
		}
		return scopes == nil
	})
	return scopes
}
