package demo_test

import (
	"io"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/caddy-truelayer/caddy-truelayer/examples/internal/demo"
	"github.com/caddy-truelayer/caddy-truelayer/examples/internal/demotest"
)

const caddyfile = `{
	admin off
	persist_config off
	default_bind 127.0.0.1
	storage file_system {$DEMO_DATA}
	log {
		level PANIC
	}
}
http://localhost:{$DEMO_PORT} {
	reverse_proxy {$DEMO_APP}
}
`

// server is an application that shows the names in its environment, and ends at /end.
const server = `
import http.server, os

class Application(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/end":
            os._exit(3)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(" ".join(os.environ).encode())

    def log_message(self, *args):
        pass

http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Application).serve_forever()
`

// program returns an example whose application is a script in Python.
func program(script string) *demo.Example {
	return &demo.Example{
		Name: "demo", Site: "Demo", Caddyfile: []byte(caddyfile),
		Files:   fstest.MapFS{"application.py": {Data: []byte(script)}},
		Program: &demo.Program{Command: []string{"python3", "application.py"}, Package: "python3"},
	}
}

// TestCannotStart: an example says what is wrong and what to do.
func TestCannotStart(t *testing.T) {
	for name, test := range map[string]struct {
		example *demo.Example
		path    string
		words   string
	}{
		"no interpreter": {program(server), t.TempDir(), "install it, on Debian with: apt install python3"},
		"ends at once":   {program("raise SystemExit(3)"), "", "starting the application: it ended by itself, with exit status 3"},
	} {
		t.Run(name, func(t *testing.T) {
			flags := demotest.Ports(t, test.example)
			demotest.SetUp(t)
			if test.path != "" {
				t.Setenv("PATH", test.path)
			}
			err := test.example.Run(t.Context(), flags, io.Discard)
			if err == nil || !strings.Contains(err.Error(), test.words) {
				t.Errorf("it ends with %v", err)
			}
		})
	}
}

// TestApplication: the application does not get the client secret, and the example
// ends with it.
func TestApplication(t *testing.T) {
	demotest.SetUp(t)
	run := demotest.Launch(t, program(server))
	v := demotest.NewVisitor(t, run.Site)
	names := v.Open("/").Text
	demotest.Contains(t, "the environment", names, "PORT", "TMPDIR", "PATH")
	if strings.Contains(names, "TRUELAYER_") {
		t.Errorf("the application has %s", names)
	}
	v.Open("/end")
	if err := <-run.Ended; err == nil || !strings.Contains(err.Error(), "running the application: it ended by itself, with exit status 3") {
		t.Errorf("it ends with %v", err)
	}
}
