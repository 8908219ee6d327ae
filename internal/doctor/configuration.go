package doctor

// configuration makes the checks that need nothing but the configuration.
func (b *Block) configuration() []Finding {
	return append(b.options(), b.credentials(), b.accessLogs())
}

func (b *Block) options() []Finding {
	if len(b.Options) == 0 {
		return []Finding{{checkOptions, OK, "the options are valid and fit together", ""}}
	}
	findings := make([]Finding, 0, len(b.Options))
	for _, note := range b.Options {
		findings = append(findings, Finding{checkOptions, note.Level, note.Seen, note.Remedy})
	}
	return findings
}

func (b *Block) credentials() Finding {
	found := Finding{checkCredentials, OK, "client_id and client_secret are there, and the secret is not in the configuration", ""}
	for _, c := range b.Credentials {
		switch {
		case c.Problem != "":
			return Finding{
				checkCredentials, Failure, c.Problem,
				"set " + c.Option + " to the value from TrueLayer's Console, and make its placeholder readable for the user that runs this command and for the one that runs Caddy",
			}
		case c.Literal:
			found = Finding{
				checkCredentials, Warning, c.Option + " stands in the configuration itself, where Caddy's admin endpoint and backups show it",
				"write {env.TRUELAYER_CLIENT_SECRET} or {file./path}",
			}
		case c.Stale:
			found = Finding{
				checkCredentials, Warning, c.Option + " has another value now than when the configuration was loaded",
				"reload the configuration: caddy reload --force",
			}
		}
	}
	return found
}

func (b *Block) accessLogs() Finding {
	const remedy = "add `request>uri truelayer` and `resp_headers>Location truelayer` to the `format filter` of every log that gets accesses"
	logs := b.AccessLogs
	switch {
	case logs.Unknown != "":
		return Finding{checkAccessLogs, Skipped, logs.Unknown, ""}
	case !logs.On:
		return Finding{checkAccessLogs, OK, "the server has no access logs", ""}
	case !logs.Filtered:
		return Finding{checkAccessLogs, Warning, "codes and states of logins are written to an access log", remedy}
	case !logs.Certain:
		return Finding{
			checkAccessLogs, OK, "a log has the filter truelayer; the running Caddy does not tell which one, and the command with --config does", "",
		}
	}
	return Finding{checkAccessLogs, OK, "the access logs have the filter truelayer", ""}
}
