package integration

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
)

func init() {
	caddy.RegisterModule(new(tokenAuth))
	httpcaddyfile.RegisterHandlerDirective("jwtauth", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		a := new(tokenAuth)
		err := a.UnmarshalCaddyfile(h.Dispenser)
		return caddyauth.Authentication{ProvidersRaw: caddy.ModuleMap{"jwt_of_tests": caddyconfig.JSON(a, nil)}}, err
	})
}

// tokenAuth stands for a module that signs visitors in by a JSON Web Token in a cookie, and
// that is configured like caddy-jwt. Caddy's own handler makes placeholders of what it says.
type tokenAuth struct {
	Key    string   `json:"key"`
	Cookie string   `json:"cookie"`
	Meta   []string `json:"meta"`
}

func (*tokenAuth) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.authentication.providers.jwt_of_tests", New: func() caddy.Module { return new(tokenAuth) }}
}

func (a *tokenAuth) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	for d.NextBlock(0) {
		switch d.Val() {
		case "sign_key":
			d.Args(&a.Key)
		case "from_cookies":
			d.Args(&a.Cookie)
		case "meta_claims":
			a.Meta = d.RemainingArgs()
		default:
			d.RemainingArgs()
		}
	}
	return nil
}

func (a *tokenAuth) Authenticate(_ http.ResponseWriter, r *http.Request) (user caddyauth.User, ok bool, err error) {
	cookie, err := r.Cookie(a.Cookie)
	if err != nil {
		return user, false, nil
	}
	end := max(0, strings.LastIndex(cookie.Value, "."))
	signed, signature := cookie.Value[:end], strings.TrimPrefix(cookie.Value[end:], ".")
	_, body, _ := strings.Cut(signed, ".")
	if !hmac.Equal([]byte(signature), []byte(sign(caddy.NewReplacer().ReplaceAll(a.Key, ""), signed))) {
		return user, false, nil
	}
	var claims map[string]string
	text, err := base64.RawURLEncoding.DecodeString(body)
	if err == nil {
		err = json.Unmarshal(text, &claims)
	}
	user = caddyauth.User{ID: claims["sub"], Metadata: make(map[string]string)}
	for _, claim := range a.Meta {
		user.Metadata[claim] = claims[claim]
	}
	return user, err == nil, err
}

func sign(key, text string) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(text))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// documented returns the Caddyfile in docs/verified-names.md that has some words, as a
// template for start. The application is told the bank's word, and Before is who the visitor
// is asked of.
func documented(t *testing.T, words string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/verified-names.md")
	if err != nil {
		t.Fatal(err)
	}
	for i, block := range strings.Split(string(text), "```") {
		if i%2 == 0 || !strings.Contains(block, words) {
			continue
		}
		_, block, _ = strings.Cut(block, "\n")
		if !strings.HasPrefix(block, "{\n") {
			block = "{\n}\n" + block
		}
		block = regexp.MustCompile(`verify_name (\S+)( \{)?\n`).ReplaceAllString(block, "verify_name $1 {\napi {{.AuthServer}}\n\x00$2")
		return strings.NewReplacer(
			"\x00 {", "", "\x00", "}\n", "reverse_proxy", "request_header X-Told {http.truelayer.verification}\nreverse_proxy",
			"localhost:3000", "{{.App}}", "localhost:9000", "{{.Before}}", "https://app.example.com", "{{.Site}}", "app.example.com {", "http://localhost:{{.Port}} {",
			"{env.TRUELAYER_CLIENT_ID}", "{{.ClientID}}\nauth_server {{.AuthServer}}", "{env.TRUELAYER_CLIENT_SECRET}", "{env.TEST_CLIENT_SECRET}",
		).Replace("{\nadmin off\npersist_config off\ngrace_period 1s\nstorage file_system {{.Data}}\nlog {\nlevel DEBUG\noutput file {{.Log}}\n}" + strings.TrimPrefix(block, "{"))
	}
	t.Fatalf("docs/verified-names.md has no Caddyfile with %q", words)
	return ""
}

// TestSourcesInDocuments: each Caddyfile of docs/verified-names.md takes the name from whom it
// says. What a visitor sends in a header field is nobody's name.
func TestSourcesInDocuments(t *testing.T) {
	const key = "the key of the site's tokens"
	t.Setenv("JWT_KEY", key)
	who := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if cookie, err := r.Cookie("site_session"); err == nil {
			w.Header().Set("X-Name", map[string]string{"john": "John Doe", "jane": "Jane Carter"}[cookie.Value])
		}
	}))
	defer who.Close()
	token := func(name string) string {
		text := "e30." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"7","name":"`+name+`"}`))
		return "site_session=" + text + "." + sign(key, text)
	}
	for words, visitors := range map[string]map[string][]string{
		"forward_auth": {"match": {"Cookie", "site_session=john"}, "no_match": {"Cookie", "site_session=jane", "X-Name", "John Doe"}},
		"jwtauth":      {"match": {"Cookie", token("John Doe")}, "no_match": {"Cookie", token("Jane Carter"), "X-Name", "John Doe"}},
		"basic_auth":   {"match": {"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("John Doe:hiccup"))}},
	} {
		t.Run(words, func(t *testing.T) {
			w := start(t, documented(t, words), func(w *world) { w.Before = strings.TrimPrefix(who.URL, "http://") })
			for want, header := range visitors {
				header, b := append(header, asNavigation...), w.browser()
				callback, err := w.sim.Grant(b.do(http.MethodGet, w.Site+"/page", header...).location())
				if err != nil {
					t.Fatal(err)
				}
				b.do(http.MethodGet, callback, header...)
				b.do(http.MethodGet, w.Site+"/page", header...)
				_, seen := w.app.requests()
				equal(t, "told", seen.Header.Get("X-Told"), want)
			}
		})
	}
}
