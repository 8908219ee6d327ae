package truelayer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

const required = `
	client_id     client
	client_secret {env.SECRET}
	redirect_uri  https://app.example.com/truelayer
`

// adapt adapts a Caddyfile with one block and returns the handler's JSON.
func adapt(t *testing.T, site string) (string, error) {
	t.Helper()
	config, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(site), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return "", err
	}
	for _, w := range warnings {
		if !strings.Contains(w.Message, "not formatted") {
			t.Errorf("warning: %s", w)
		}
	}
	var c struct {
		Apps struct {
			HTTP struct {
				Servers map[string]struct {
					Routes []struct {
						Handle []struct {
							Routes []struct {
								Match  json.RawMessage
								Handle []json.RawMessage
							}
						}
					}
				}
			}
		}
	}
	if err := json.Unmarshal(config, &c); err != nil {
		t.Fatal(err)
	}
	for _, server := range c.Apps.HTTP.Servers {
		for _, route := range server.Routes[0].Handle[0].Routes {
			for _, handler := range route.Handle {
				if strings.Contains(string(handler), `"handler":"truelayer"`) {
					if route.Match != nil {
						t.Error("the matcher stayed on the route")
					}
					return string(handler), nil
				}
			}
		}
	}
	t.Fatalf("no handler in %s", config)
	return "", nil
}

// TestAdapt: each file in testdata/adapt is options, a line of dashes, and the
// JSON that they add to the required ones.
func TestAdapt(t *testing.T) {
	files, err := filepath.Glob("testdata/adapt/*.caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	tested := make(map[string]bool)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file) //nolint:gosec // test data
			if err != nil {
				t.Fatal(err)
			}
			site, want, found := strings.Cut(string(text), "----------\n")
			if !found {
				t.Fatal("no line of dashes")
			}
			got, err := adapt(t, site)
			if err != nil {
				t.Fatal(err)
			}
			var indented, wanted bytes.Buffer
			if err := json.Indent(&indented, []byte(got), "", "\t"); err != nil {
				t.Fatal(err)
			}
			if err := json.Indent(&wanted, []byte(strings.TrimSpace(want)), "", "\t"); err != nil {
				t.Fatal(err)
			}
			if indented.String() != wanted.String() {
				t.Errorf("got:\n%s", indented.String())
			}
			for _, option := range new(Handler).options() {
				if strings.Contains(site, "\t"+option.Name) {
					tested[option.Name] = true
				}
			}
		})
	}
	for _, option := range new(Handler).options() {
		if !tested[option.Name] {
			t.Errorf("no file in testdata/adapt uses %s", option.Name)
		}
	}
}

// ownConsent is a block with a controller, with terms unless the options have some.
func ownConsent(options string) string {
	if !strings.Contains(options, "terms_url") {
		options += "\nterms_url https://a.example/"
	}
	return "consent {\ncontroller C\n" + options + "\n}"
}

func TestCaddyfileErrors(t *testing.T) {
	block := func(options string) string {
		return "app.example.com {\n\ttruelayer {" + required + options + "\n\t}\n}\n"
	}
	for name, test := range map[string]struct{ site, want string }{
		"no block":                  {"app.example.com {\n\ttruelayer\n}\n", "client_id is missing"},
		"an argument":               {"app.example.com {\n\ttruelayer /a b {\n}\n}\n", "nothing else on its line"},
		"no client_id":              {"app.example.com {\n\ttruelayer {\nclient_secret s\nredirect_uri https://a.example/t\n}\n}\n", "client_id is missing"},
		"no client_secret":          {"app.example.com {\n\ttruelayer {\nclient_id s\nredirect_uri https://a.example/t\n}\n}\n", "client_secret is missing"},
		"no redirect_uri":           {"app.example.com {\n\ttruelayer {\nclient_id s\nclient_secret s\n}\n}\n", "redirect_uri is missing"},
		"unknown option":            {block("client_uid x"), `unknown option "client_uid": truelayer has allow_origins, auth_param, auth_server`},
		"twice":                     {block("client_id x"), "client_id is given twice"},
		"secret twice":              {block("client_secret hunter2"), "client_secret is given twice"},
		"no argument":               {block("environment"), "environment takes one argument and has none: if it is an environment variable, {$NAME}, that is not set: write environment live|sandbox"},
		"too many arguments":        {block("environment live sandbox"), "environment takes one argument"},
		"unknown environment":       {block("environment test"), `environment "test" is unknown: use live or sandbox`},
		"auth_server relative":      {block("auth_server /auth"), "not an absolute http(s) URL"},
		"auth_server plain http":    {block("auth_server http://auth.example"), "plain http: use https"},
		"auth_server query":         {block("auth_server https://auth.example?a=b"), "remove it"},
		"no scopes":                 {block("scopes"), "scopes takes one argument or more"},
		"scope twice":               {block("scopes info accounts info"), `"info" is given twice`},
		"scope with a quote":        {block("scopes `a\"b`"), "not a valid value"},
		"scopes in one argument":    {block(`scopes "info accounts"`), "not a valid value"},
		"provider_id placeholder":   {block("provider_id {env.X}"), "not a valid value"},
		"auth_param without value":  {block("auth_param nonce"), "a name and a value"},
		"auth_param of ours":        {block("auth_param state x"), "auth_param state is set by the module"},
		"auth_param response_mode":  {block("auth_param response_mode form_post"), "auth_param response_mode is set by the module"},
		"auth_param in capitals":    {block("auth_param Redirect_URI x"), "is set by the module"},
		"auth_param twice":          {block("auth_param nonce x\nauth_param nonce y"), "auth_param nonce is given twice"},
		"disable_pkce with a value": {block("disable_pkce true"), "takes no argument"},
		"token_header missing":      {block("token_header"), "token_header takes a field"},
		"token_header Cookie":       {block("token_header cookie"), "cannot carry a token"},
		"token_header underscore":   {block("token_header X_Token"), "letters, digits and hyphens"},
		"token_header scheme":       {block(`token_header X-Token "a b"`), "not a word"},
		"verify_access_token":       {block("verify_access_token http://keys.example"), "plain http: use https"},
		"cookie_name prefix":        {block("cookie_name __Host-x"), "leave the prefix out"},
		"cookie_name character":     {block("cookie_name a;b"), "cannot have"},
		"refresh_before text":       {block("refresh_before soon"), "not a duration"},
		"refresh_timeout zero":      {block("refresh_timeout 0s"), "has to be positive"},
		"logout_redirect":           {block("logout_redirect //evil.example"), "neither a path"},
		"logout_redirect script":    {block("logout_redirect javascript:alert(1)"), "neither a path"},
		"idle_timeout text":         {block("idle_timeout soon"), "not a duration"},
		"idle_timeout zero":         {block("idle_timeout 0s"), "has to be positive"},
		"max_lifetime negative":     {block("max_lifetime -1h"), "has to be positive"},
		"max_lifetime of a century": {block("max_lifetime 876600h"), "must not be longer than ten years"},
		"disable nothing":           {block("disable"), "disable takes one argument or more"},
		"disable unknown":           {block("disable login"), `disable "login" is unknown: use logout, session`},
		"disable twice":             {block("disable session logout session"), `disable: "session" is given twice`},
		"disconnect_on unknown":     {block("disconnect_on expiry"), `disconnect_on "expiry" is unknown: use logout`},
		"an option of earlier":      {block("disable_logout"), `unknown option "disable_logout"`},
		"store without a name":      {block("store"), "takes the name of a store"},
		"unknown store":             {block("store clay"), "module not registered: http.truelayer.token_stores.clay; this build has memory"},
		"store option":              {block("store memory {\nsize 1\n}"), `unknown option "size"`},
		"max_sessions text":         {block("store memory {\nmax_sessions many\n}"), "not a number of 1 or more"},
		"max_sessions zero":         {block("store memory {\nmax_sessions 0\n}"), "not a number of 1 or more"},
		"max_sessions twice":        {block("store memory {\nmax_sessions 1\nmax_sessions 2\n}"), "given twice"},
		"issuer":                    {block("issuer bank"), `issuer "bank" is not an absolute URL`},
		"allow_origins missing":     {block("allow_origins"), "allow_origins takes one argument or more"},
		"allow_origins host":        {block("allow_origins www.example.com"), "is not an origin such as"},
		"allow_origins path":        {block("allow_origins https://www.example.com/"), "is not an origin such as"},
		"allow_origins wildcard":    {block("allow_origins https://*.example.com"), "is not an origin such as"},
		"allow_origins capitals":    {block("allow_origins https://WWW.example.com"), "is not an origin such as"},
		"allow_origins user":        {block("allow_origins https://a@www.example.com"), "is not an origin such as"},
		"allow_origins null":        {block("allow_origins null"), "is not an origin such as"},
		"allow_origins plain http":  {block("allow_origins http://www.example.com"), "is not https"},
		"allow_origins port":        {block("allow_origins https://www.example.com:443"), "has its scheme's own port"},
		"store storage on a line":   {block("store storage x"), "nothing else on its line"},
		"store storage option":      {block("store storage {\nsize 1\n}"), `unknown option "size": store storage has cache_ttl, storage`},
		"cache_ttl text":            {block("store storage {\ncache_ttl soon\n}"), `cache_ttl "soon" is not a duration`},
		"cache_ttl twice":           {block("store storage {\ncache_ttl 1s\ncache_ttl 1s\n}"), "cache_ttl is given twice"},
		"cache_ttl negative":        {block("store storage {\ncache_ttl -1s\n}"), "not between 0 and 1m0s"},
		"cache_ttl long":            {block("store storage {\ncache_ttl 1h\n}"), "not between 0 and 1m0s"},
		"storage unknown":           {block("store storage {\nstorage clay\n}"), "module not registered: caddy.storage.clay"},
		"storage missing":           {block("store storage {\nstorage\n}"), "storage takes the name of a storage module"},
		"consent without a block":   {block("consent"), "controller is missing: consent needs controller, purpose and terms_url"},
		"consent on a line":         {block("consent x"), "consent takes a block"},
		"consent unquoted":          {block(ownConsent("purpose We check it")), "purpose takes one argument; quote it if it has spaces"},
		"consent purpose missing":   {block("consent {\ncontroller C\nterms_url https://a.example/\n}"), "purpose is missing"},
		"consent placeholder":       {block(ownConsent("purpose {env.PURPOSE}")), "consent: purpose has a placeholder, which is not replaced"},
		"consent blank":             {block(ownConsent("purpose \" \"")), "consent: purpose is missing"},
		"consent long":              {block(ownConsent("purpose " + strings.Repeat("a", 1001))), "consent: purpose is longer than 1000 characters"},
		"consent control character": {block(ownConsent("purpose a\u202eb")), "consent: purpose has a character that is no text"},
		"consent terms relative":    {block(ownConsent("purpose P\nterms_url /terms")), `terms_url "/terms" is not an absolute URL`},
		"consent terms plain":       {block(ownConsent("purpose P\nterms_url http://a.example/")), `terms_url "http://a.example/" is not https`},
		"consent terms script":      {block(ownConsent("purpose P\nterms_url javascript:alert(1)")), "is not an absolute URL"},
		"consent user literal":      {block(ownConsent("purpose P\nuser Ada")), `user "Ada" is not a placeholder, so all visitors would be called that`},
		"consent user half":         {block(ownConsent("purpose P\nuser `{vars.who`")), "is not a placeholder"},
		"consent user with a title": {block(ownConsent("purpose P\nuser \"Mx {vars.who}\"")), "is not a placeholder"},
		"consent terms without":     {block(ownConsent("purpose P\nterms_url https://:443/x")), "is not an absolute URL"},
		"consent terms long":        {block(ownConsent("purpose P\nterms_url https://a.example/" + strings.Repeat("a", 1000))), "is not an absolute URL"},
		"consent time":              {block(ownConsent("purpose \"In {time.now.year}\"")), "has a placeholder, which is not replaced"},
		"consent user of three":     {block(ownConsent("purpose P\nuser {a} {b} {c}")), "user takes a placeholder"},
		"consent user missing":      {block(ownConsent("purpose P\nuser")), "user takes a placeholder"},
		"consent option":            {block(ownConsent("purpose P\nlanguage de")), `unknown option "language": consent has controller, fallback_dialog, purpose, terms_url, user`},
		"pages on a line":           {block("pages x"), "pages takes a block"},
		"pages option":              {block("pages {\ntitle x\n}"), `unknown option "title": pages has accent, language, logo, name, template_dir`},
		"pages name placeholder":    {block("pages {\nname {env.NAME}\n}"), "name of pages takes no placeholders"},
		"pages name long":           {block("pages {\nname " + strings.Repeat("a", 61) + "\n}"), "more than 60 characters"},
		"pages accent comment":      {block("pages {\naccent #1652a8\n}"), "a # would begin a comment"},
		"pages accent pale":         {block("pages {\naccent ffcc00\n}"), "choose a darker color, such as"},
		"pages accent word":         {block("pages {\naccent red\n}"), `accent "red" is not a color`},
		"pages language":            {block("pages {\nlanguage tlh\n}"), `language "tlh" is none of the pages' languages: choose one of en`},
		"verify_name of two":        {block("verify_name {a} {b}"), "verify_name takes at most one placeholder"},
		"verify_name trusts":        {block("verify_name {\ntrust_header\n}"), "trust_header is for a placeholder"},
		"verify_name literal":       {block("verify_name Ada"), `verify_name "Ada" is not a placeholder`},
		"verify_name header":        {block("verify_name {header.X-Name}"), "is the visitor's own choice"},
		"verify_name cookie":        {block("verify_name {cookie.name}"), "is the visitor's own choice"},
		"verify_name query":         {block("verify_name {query.name}"), "is the visitor's own choice"},
		"verify_name in a text":     {block("verify_name \"{http.auth.user.id} {http.request.uri.query.a}\""), "is the visitor's own choice"},
		"verify_name match":         {block("verify_name {http.regexp.a.1}"), "is the visitor's own choice"},
		"verify_name certificate":   {block("verify_name {http.request.tls.client.san.dns_names.0}"), "is the visitor's own choice"},
		"verify_name file":          {block("verify_name {file_match.relative}"), "is the visitor's own choice"},
		"verify_name address":       {block("verify_name {client_ip}"), "is the visitor's own choice"},
		"verify_name score":         {block("verify_name {a} {\nmin_score 101\n}"), "min_score 101 is more than 100"},
		"verify_name score text":    {block("verify_name {a} {\nmin_score high\n}"), "is not a number of 1 or more"},
		"verify_name api plain":     {block("verify_name {a} {\napi http://api.example\n}"), "api \"http://api.example\" is plain http"},
		"verify_name api missing":   {block("auth_server https://auth.example\nverify_name {a}"), "verify_name: api is missing: with auth_server, say which Verification API gets the access tokens"},
		"verify_name option":        {block("verify_name {a} {\nsize 1\n}"), `unknown option "size": verify_name has api, expose_account_holder`},
		"require nothing":           {"app.example.com {\n\ttruelayer_require\n}\n", "truelayer_require requires nothing"},
		"require an argument":       {"app.example.com {\n\ttruelayer_require /a b {\nverified_name\n}\n}\n", "nothing else on its line"},
		"require unknown":           {"app.example.com {\n\ttruelayer_require {\nname\n}\n}\n", `unknown option "name": truelayer_require has providers, scopes, verified_name`},
		"require no scope":          {"app.example.com {\n\ttruelayer_require {\nscopes\n}\n}\n", "scopes takes one argument or more"},
		"same redirect_uri": {
			"app.example.com {\n\ttruelayer /a {" + required + "}\n\ttruelayer /b {" + required + "scopes info\n}\n}\n",
			"redirect_uri https://app.example.com/truelayer is used by an earlier truelayer block with other settings",
		},
		"same cookie_name": {
			"app.example.com {\n\ttruelayer /a {" + required + "cookie_name c\n}\n\ttruelayer /b {" + strings.Replace(required, "/truelayer", "/other", 1) + "cookie_name c\nscopes info\n}\n}\n",
			"cookie_name c on app.example.com is used by an earlier truelayer block",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := adapt(t, test.site)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got error %v, want %q", err, test.want)
			}
			if strings.Count(err.Error(), "Caddyfile:") != 1 {
				t.Errorf("not one file and line: %v", err)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error repeats a secret: %v", err)
			}
		})
	}
	secret := "app.example.com {\n\ttruelayer {\n\t\tclient_secret hunter2 hunter2-more\n\t}\n}\n" //nolint:gosec // made up
	if _, err := adapt(t, secret); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error repeats a secret: %v", err)
	}
}

func TestRedirectURI(t *testing.T) {
	for uri, want := range map[string]string{
		"https://app.example.com/truelayer":             "",
		"https://app.example.com:8443/a/b":              "",
		"https://app.example.com/truelayer/":            "",
		"http://localhost:8080/truelayer":               "",
		"http://127.0.0.1/truelayer":                    "",
		"http://[::1]:8080/truelayer":                   "",
		"http://app.localhost/truelayer":                "",
		"":                                              "is missing",
		"/truelayer":                                    "not an absolute",
		"app.example.com/truelayer":                     "not an absolute",
		"ftp://app.example.com/truelayer":               "not an absolute",
		"https:///truelayer":                            "not an absolute",
		"http://app.example.com/truelayer":              "plain http",
		"http://localhost.example/truelayer":            "plain http",
		"https://{host}/truelayer":                      "placeholder",
		"https://app.example.com":                       "no path of its own",
		"https://app.example.com/":                      "no path of its own",
		"https://app.example.com/t?a=b":                 "a query",
		"https://app.example.com/t#f":                   "a fragment",
		"https://user@app.example.com/t":                "a user",
		"https://app.example.com/a%2Fb":                 "a plain one",
		"https://app.example.com/a/../b":                "a plain one",
		"https://app.example.com//b":                    "a plain one",
		"https://a.example/" + strings.Repeat("a", 400): "longer than",
	} {
		_, err := checkRedirectURI(uri)
		if (err == nil) != (want == "") || (err != nil && !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: got error %v, want %q", uri, err, want)
		}
	}
}

func FuzzCaddyfile(f *testing.F) {
	f.Add("truelayer {" + required + "}")
	f.Add("truelayer {" + required + "scopes a b\nproviders c\nauth_param d e\ntoken_header F g\nstore memory {\nmax_sessions 5\n}\n}")
	f.Add("truelayer {" + required + "store storage {\ncache_ttl 1s\nstorage file_system /tmp\n}\n}")
	f.Add("truelayer")
	f.Add("<<<<")
	f.Add("truelayer {\nclient_secret")
	f.Fuzz(func(t *testing.T, text string) {
		tokens, err := caddyfile.Tokenize([]byte(text), "Caddyfile")
		if err != nil {
			return
		}
		var h Handler
		if err := h.UnmarshalCaddyfile(caddyfile.NewDispenser(tokens)); err != nil {
			return
		}
		config, err := json.Marshal(&h) //nolint:gosec // no secret, the fuzzer's text
		if err != nil {
			t.Fatal(err)
		}
		var again Handler
		if err := json.Unmarshal(config, &again); err != nil {
			t.Fatalf("%s: %v", config, err)
		}
		if got := fmt.Sprintf("%v", again.RedirectURI); got != h.RedirectURI {
			t.Errorf("redirect_uri became %q", got)
		}
	})
}
