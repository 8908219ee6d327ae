package truelayer

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caddy-truelayer/caddy-truelayer/internal/doctor"
)

// doctorCommand returns `caddy truelayer doctor`.
func doctorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor [--config <file>] [--site <site>] [--offline]",
		Short: "Checks the set-up, from the credentials to the redirect URI",
		Long: `Checks the set-up of every truelayer block and says what to do about what is wrong.

Without --config the running Caddy makes the checks, with the credentials and the
store that it uses. With --config this command makes them for a configuration file
that need not be loaded yet. It takes credentials from its own environment, and
leaves the store out.

The checks send the client secret to the configured auth server and nowhere else.
They use up one auth link, and send an authorization code that nobody was given.

Each line begins with ✓ (well), ! (a warning, or something that cannot be known
for sure), ✗ (visitors will have trouble) or - (not checked).

Exit status: 0 if nothing is marked ✗, 1 if something is or the checks could not
be made, 2 if the command was used wrongly.`,
		Example: "  caddy truelayer doctor\n  caddy truelayer doctor --config /etc/caddy/Caddyfile --offline",
		Args:    exactly(0),
	}
	flags := addCaddyFlags(cmd, "Check the blocks of this configuration file, not those of the running Caddy")
	site := cmd.Flags().String("site", "", "Check this site alone: the host and the path of its redirect_uri")
	offline := cmd.Flags().Bool("offline", false, "Leave out what needs the network")
	cmd.RunE = flags.run(func(cmd *cobra.Command, _ []string) error {
		found, err := flags.diagnose(cmd, *site, *offline)
		if err != nil {
			return err
		}
		if err := flags.print(cmd, found, func(w io.Writer) { found.write(w) }); err != nil {
			return err
		}
		if !found.OK {
			return errChecksFailed
		}
		return nil
	})
	return cmd
}

func (f *caddyFlags) diagnose(cmd *cobra.Command, site string, offline bool) (diagnoses, error) {
	var found diagnoses
	if f.config == "" {
		err := f.ask(http.MethodPost, "/truelayer/doctor", nil, map[string]any{"site": site, "offline": offline}, &found)
		if err == nil && len(found.Blocks) == 0 {
			err = errors.New("the running Caddy has no truelayer block")
		}
		return found, err
	}
	configured, err := f.configuredBlocks(site)
	if err != nil {
		return found, err
	}
	sites, blocks := make([]string, len(configured)), make([]doctor.Block, len(configured))
	for i, c := range configured {
		sites[i], blocks[i] = c.site(), c.diagnosis()
		blocks[i].Offline = offline
	}
	return examine(cmd.Context(), sites, blocks), nil
}

var marks = map[doctor.Level]string{doctor.OK: "✓", doctor.Warning: "!", doctor.Failure: "✗", doctor.Skipped: "-"}

// write writes findings for people.
func (d diagnoses) write(w io.Writer) {
	width, counts := 0, make(map[doctor.Level]int)
	for _, b := range d.Blocks {
		for _, f := range b.Findings {
			width = max(width, len(f.Check))
			counts[f.Level]++
		}
	}
	for _, b := range d.Blocks {
		fmt.Fprintln(w, b.Site)
		for _, f := range b.Findings {
			fmt.Fprintf(w, "  %s %-*s  %s\n", marks[f.Level], width, f.Check, f.Seen)
			if f.Remedy != "" {
				fmt.Fprintf(w, "    %*s  %s\n", width, "", f.Remedy)
			}
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "well: %d, warnings: %d, failures: %d, not checked: %d\n",
		counts[doctor.OK], counts[doctor.Warning], counts[doctor.Failure], counts[doctor.Skipped])
}

// authLinkCommand returns `caddy truelayer auth-link`.
func authLinkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "auth-link [--config <file>] [--site <site>]",
		Short: "Prints an auth link as visitors get it",
		Long: `Prints the link to which a visitor would be sent, for a browser or a support ticket.

The link has no secret in it. No login stands behind it: TrueLayer shows its banks,
but whoever goes to the end comes back to a page that says that the login is not
known. Each link can be used once.`,
		Example: "  caddy truelayer auth-link --site app.example.com/truelayer",
		Args:    exactly(0),
	}
	flags := addCaddyFlags(cmd, "Make the links of this configuration file's blocks, not those of the running Caddy")
	site := cmd.Flags().String("site", "", "Make the link of this site alone: the host and the path of its redirect_uri")
	cmd.RunE = flags.run(func(cmd *cobra.Command, _ []string) error {
		made, err := flags.makeLinks(*site)
		if err != nil {
			return err
		}
		return flags.print(cmd, made, func(w io.Writer) {
			for _, link := range made.Links {
				if len(made.Links) > 1 {
					fmt.Fprintln(w, link.Site+":")
				}
				fmt.Fprintln(w, link.URL)
			}
		})
	})
	return cmd
}

func (f *caddyFlags) makeLinks(site string) (made authLinks, err error) {
	if f.config == "" {
		err = f.ask(http.MethodPost, "/truelayer/auth-links", nil, map[string]any{"site": site}, &made)
		return made, err
	}
	configured, err := f.configuredBlocks(site)
	if err != nil {
		return made, err
	}
	for _, c := range configured {
		b := c.diagnosis()
		if b.TrueLayer == nil {
			return made, fmt.Errorf("%s: the configuration cannot be used as it is: run caddy truelayer doctor --config %s", strings.TrimSpace(c.site()), f.config)
		}
		made.Links = append(made.Links, authLink{c.site(), b.TrueLayer.AuthLink()})
	}
	return made, nil
}
