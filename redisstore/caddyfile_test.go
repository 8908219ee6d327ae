package redisstore

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func TestCaddyfile(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"one server": {
			"redis {\n address redis.internal:6379\n}",
			`{"address":["redis.internal:6379"]}`,
		},
		"all of it": {
			`redis {
				address {env.REDIS}
				username app
				password {env.REDIS_PASSWORD}
				database 3
				key_prefix shop-1.
				tls {
					ca ca.pem
					certificate cert.pem
					key key.pem
					server_name redis
				}
				timeout 500ms
				cache_size 64MiB
			}`,
			`{"address":["{env.REDIS}"],"username":"app","password":"{env.REDIS_PASSWORD}","database":3,"key_prefix":"shop-1.",` +
				`"tls":{"ca":"ca.pem","certificate":"cert.pem","key":"key.pem","server_name":"redis"},"timeout":500000000,"cache_size":67108864}`,
		},
		"sentinel": {
			"redis {\n address a:26379 b:26379 [::1]:26379\n sentinel main {\n username u\n password p\n }\n tls\n cache_size 0\n}",
			`{"address":["a:26379","b:26379","[::1]:26379"],"tls":{},"sentinel":{"master":"main","username":"u","password":"p"},"cache_size":0}`,
		},
		"cluster": {
			"redis {\n address a:6379 b:6379\n cluster\n}",
			`{"address":["a:6379","b:6379"],"cluster":true}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var s Store
			if err := s.UnmarshalCaddyfile(caddyfile.NewTestDispenser(test.text)); err != nil {
				t.Fatal(err)
			}
			got, err := json.Marshal(&s) //nolint:gosec // no secret, the test's text
			if err != nil || string(got) != test.want {
				t.Errorf("got %s, %v", got, err)
			}
		})
	}
}

func TestCaddyfileErrors(t *testing.T) {
	for text, want := range map[string]string{
		"redis":                             "address is missing",
		"redis a:1":                         "nothing else on its line",
		"redis {\n address\n}":              "address is missing",
		"redis {\n address redis\n}":        `address "redis" is not a host and a port`,
		"redis {\n address redis://a:1\n}":  "is not a host and a port",
		"redis {\n address a:1\n server\n}": `unknown option "server": store redis has address, cache_size, cluster`,
		"redis {\n address a:1\n timeout 1s\n timeout 2s\n}":           "timeout is given twice",
		"redis {\n address a:1\n timeout soon\n}":                      `timeout "soon" is not a duration`,
		"redis {\n address a:1\n timeout 1ms\n}":                       "not between 100ms and 1m",
		"redis {\n address a:1\n database first\n}":                    `database "first" is not a number`,
		"redis {\n address a:1\n key_prefix a*\n}":                     "has a character other than",
		"redis {\n address a:1\n key_prefix {x}\n}":                    "has a character other than",
		"redis {\n address a:1\n cache_size 5\n}":                      "neither 0 nor at least 1 MiB",
		"redis {\n address a:1\n cache_size big\n}":                    `cache_size "big" is not a size`,
		"redis {\n address a:1\n password hunter2 \"hunter2 more\"\n}": "password takes one argument",
		"redis {\n address a:1\n tls on\n}":                            "tls takes a block, or nothing",
		"redis {\n address a:1\n tls {\n cert x\n }\n}":                `unknown option "cert": tls has ca, certificate, key, server_name`,
		"redis {\n address a:1\n sentinel\n}":                          "sentinel takes one argument",
		"redis {\n address a:1\n sentinel a {\n name x\n }\n}":         "sentinel has password, username",
		"redis {\n address a:1\n cluster yes\n}":                       "cluster takes no argument",
		"redis {\n address a:1\n password {\n hunter2\n }\n}":          "",
		"redis {\n address a:1\n username \"\"\n}":                     "username takes one argument",
		"redis {\n address a:1\n sentinel a b\n}":                      "sentinel takes one argument",
		"redis {\n address a:1\n cache_size 99999999999999999EB\n}":    "is not a size",
	} {
		err := new(Store).UnmarshalCaddyfile(caddyfile.NewTestDispenser(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\ngot error %v, want %q", text, err, want)
			continue
		}
		if !strings.Contains(err.Error(), "Testfile:") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s\n%v", text, err)
		}
	}
}

func TestProvisionErrors(t *testing.T) {
	folder := t.TempDir()
	empty := filepath.Join(folder, "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TEST_REDIS_EMPTY", "")
	t.Setenv("TEST_REDIS_PASSWORD", "hunter2")
	one := []string{"redis.internal:6379"}
	for want, s := range map[string]*Store{
		"address is missing":                 {},
		"several addresses":                  {Address: []string{"a:1", "b:1"}},
		"keep one":                           {Address: one, Cluster: true, Sentinel: &Sentinel{Master: "m"}},
		"the name of the primary is missing": {Address: one, Sentinel: &Sentinel{}},
		"a cluster has 0 only":               {Address: one, Cluster: true, Database: 1},
		"not between 100ms and 1m":           {Address: one, Timeout: -1},
		"belong together":                    {Address: one, TLS: &TLS{Certificate: empty}},
		"tls ca: reading the file":           {Address: one, TLS: &TLS{CA: filepath.Join(folder, "none")}},
		"no certificate in PEM":              {Address: one, TLS: &TLS{CA: empty}},
		"tls certificate: ":                  {Address: one, TLS: &TLS{Certificate: empty, Key: empty}},
		"password: the placeholder {env.TEST_REDIS_EMPTY} is unknown or empty": {Address: one, Password: new("{env.TEST_REDIS_EMPTY}")},
		"address: the placeholder {env.TEST_REDIS_NONE}":                       {Address: []string{"{env.TEST_REDIS_NONE}"}},
		"address \"hunter2\" is not a host":                                    {Address: []string{"{env.TEST_REDIS_PASSWORD}"}},
		"sentinel password: the placeholder {nothing}":                         {Address: one, Sentinel: &Sentinel{Master: "m", Password: new("{nothing}")}},
		"has a character other than a letter":                                  {Address: one, KeyPrefix: "a b"},
		"cache_size -1 is neither 0 nor at least ":                             {Address: one, CacheSize: new(-1)},
	} {
		ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
		err := s.Provision(ctx)
		cancel()
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "store redis: ") {
			t.Errorf("got error %v, want %q", err, want)
		}
		if err := s.Cleanup(); err != nil { // as Caddy does after a failed Provision
			t.Error(err)
		}
	}
}

// TestSharedConnections: stores with equal settings share a server, over a
// reload too; a renewed certificate is another setting.
func TestSharedConnections(t *testing.T) {
	ca := filepath.Join(t.TempDir(), "ca.pem")
	write := func(content string) {
		if err := os.WriteFile(ca, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	provision := func() *Store {
		s := &Store{Address: []string{"127.0.0.1:1"}, TLS: &TLS{CA: ca}}
		ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
		t.Cleanup(cancel)
		if err := s.Provision(ctx); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Cleanup(); err != nil {
				t.Error(err)
			}
		})
		return s
	}
	first, second := certificate(t, "one"), certificate(t, "another")
	write(first.certificate)
	one, other := provision(), provision()
	if one.server != other.server {
		t.Error("two connections for equal settings")
	}
	write(second.certificate)
	if provision().server == one.server {
		t.Error("the renewed certificate was not seen")
	}
	if one.server.timeout != time.Second {
		t.Errorf("the timeout is %v", one.server.timeout)
	}
}

// TestSyntaxComment: the comment has the syntax that the table has, and each row is
// a field.
func TestSyntaxComment(t *testing.T) {
	source, err := os.ReadFile("caddyfile.go")
	if err != nil {
		t.Fatal(err)
	}
	options := new(Store).options()
	want := "//\tstore redis {\n" + options.Syntax("//\t\t") + "//\t}\n"
	if !strings.Contains(string(source), want) {
		t.Errorf("caddyfile.go does not have the syntax\n%s", want)
	}
	fields := make(map[string]bool)
	for field := range reflect.TypeFor[Store]().Fields() {
		if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "" {
			fields[name] = true
		}
	}
	for _, option := range options {
		if !fields[option.Name] {
			t.Errorf("%s is not a field", option.Name)
		}
		delete(fields, option.Name)
	}
	if len(fields) > 0 {
		t.Errorf("not options: %v", fields)
	}
}

func FuzzCaddyfile(f *testing.F) {
	f.Add("redis {\n address a:1 b:2\n sentinel m {\n password p\n }\n tls {\n ca x\n }\n timeout 1s\n cache_size 1MiB\n database 1\n}")
	f.Add("redis {\n address a:1\n cluster\n key_prefix x\n username u\n}")
	f.Fuzz(func(t *testing.T, text string) {
		tokens, err := caddyfile.Tokenize([]byte(text), "Caddyfile")
		if err != nil {
			return
		}
		var s, again Store
		if err := s.UnmarshalCaddyfile(caddyfile.NewDispenser(tokens)); err != nil {
			return
		}
		config, err := json.Marshal(&s) //nolint:gosec // no secret, the fuzzer's text
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(config, &again); err != nil {
			t.Fatalf("%s: %v", config, err)
		}
		if !reflect.DeepEqual(s, again) {
			t.Errorf("%+v became %+v", s, again)
		}
	})
}
