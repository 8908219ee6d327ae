package truelayer

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/caddy-truelayer/caddy-truelayer/internal/doctor"
)

const filtered = `{"encoder":{"format":"filter","fields":{"request>uri":{"filter":"truelayer"},"resp_headers>Location":{"filter":"truelayer"}}}`

// TestAccessLogsOf: a configuration tells whether each log with accesses has the filter.
func TestAccessLogsOf(t *testing.T) {
	all := doctor.AccessLogs{On: true, Filtered: true, Certain: true}
	leaky := doctor.AccessLogs{On: true, Certain: true}
	for name, test := range map[string]struct {
		server, logs string
		want         doctor.AccessLogs
	}{
		"none":                {`{}`, `{}`, doctor.AccessLogs{Certain: true}},
		"Caddy's own":         {`{"logs":{}}`, `{}`, leaky},
		"filtered":            {`{"logs":{}}`, `{"default":` + filtered + `}}`, all},
		"one of two":          {`{"logs":{}}`, `{"default":` + filtered + `},"other":{}}`, leaky},
		"another's accesses":  {`{"logs":{}}`, `{"default":` + filtered + `},"other":{"include":["admin"]}}`, all},
		"included":            {`{"logs":{}}`, `{"default":` + filtered + `},"other":{"include":["http.log.access.log0"]}}`, leaky},
		"included as a whole": {`{"logs":{}}`, `{"default":` + filtered + `},"other":{"include":["http"]}}`, leaky},
		"excluded":            {`{"logs":{}}`, `{"default":{"exclude":["http.log.access.log0"]},"log0":` + filtered + `,"include":["http.log.access.log0"]}}`, all},
		"half of the fields":  {`{"logs":{}}`, `{"default":{"encoder":{"fields":{"request>uri":{"filter":"truelayer"}}}}}`, leaky},
		"fields that are left out": {
			`{"logs":{}}`, `{"default":{"encoder":{"fields":{"request":{"filter":"delete"},"resp_headers":{"filter":"delete"}}}}}`, all,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var root map[string]any
			var server any
			if err := json.Unmarshal([]byte(`{"logging":{"logs":`+test.logs+`}}`), &root); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(test.server), &server); err != nil {
				t.Fatal(err)
			}
			if got := accessLogsOf(root, server); got != test.want {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestFindBlocks: each block of a configuration is found, once, and none of it is
// provisioned.
func TestFindBlocks(t *testing.T) {
	text := `{
	servers {
		trusted_proxies static private_ranges
	}
}
app.example.com, www.example.com {
	log
	handle /bank/* {
		truelayer {
			client_id     {env.NOT_SET}
			client_secret {env.NOT_SET}
			redirect_uri  https://app.example.com/bank/truelayer
		}
	}
	handle_path /other/* {
		route {
			truelayer {
				client_id     client
				client_secret hunter2-client-secret
				redirect_uri  https://app.example.com/other/truelayer
			}
		}
	}
}
`
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatal(err)
	}
	before := len(listLiveBlocks())
	blocks, err := findBlocks(config)
	if err != nil || len(blocks) != 2 {
		t.Fatal(len(blocks), err)
	}
	first, second := blocks[0].diagnosis(), blocks[1].diagnosis()
	if blocks[0].site() == "app.example.com/other/truelayer" {
		first, second = second, first
	}
	if first.TrueLayer != nil || !strings.Contains(first.Credentials[0].Problem, "{env.NOT_SET}") {
		t.Errorf("%+v", first.Credentials)
	}
	if second.TrueLayer == nil || !second.Credentials[1].Literal || !second.AccessLogs.On || second.AccessLogs.Filtered {
		t.Errorf("%+v %+v", second.Credentials, second.AccessLogs)
	}
	if second.AuthServer != "https://auth.truelayer.com" {
		t.Errorf("the defaults are not filled in: %+v", second.AuthServer)
	}
	if link := second.TrueLayer.AuthLink(); strings.Contains(link, "hunter2") || !strings.HasPrefix(link, "https://auth.truelayer.com/?client_id=client&code_challenge=") {
		t.Error(link)
	}
	if len(listLiveBlocks()) != before {
		t.Error("a block was provisioned")
	}
}
