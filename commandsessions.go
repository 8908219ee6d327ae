package truelayer

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

const configForAddress = "The configuration file in which the admin endpoint's address is looked up"

// addSessionFilter adds the flags that choose sessions.
func addSessionFilter(cmd *cobra.Command) *sessionFilter {
	f := &sessionFilter{}
	cmd.Flags().StringVar(&f.Site, "site", "", "Only sessions of this site: the host and the path of its redirect_uri")
	cmd.Flags().StringVar(&f.Provider, "provider", "", "Only sessions at this bank, such as ob-monzo")
	cmd.Flags().StringVar(&f.Connection, "connection", "", "Only sessions of this connection, the value of {http.truelayer.connection}")
	cmd.Flags().StringVar(&f.ClientID, "client-id", "", "Only sessions of this client_id")
	return f
}

// listCommand returns `caddy truelayer sessions list`.
func listCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list [--site <site>] [--provider <id>] [--connection <id>] [--limit <n>]",
		Short: "Lists sessions",
		Long:  "Lists sessions, in no particular order. --limit is how many are shown at most.",
		Args:  exactly(0),
	}
	flags, filter := addCaddyFlags(cmd, configForAddress), addSessionFilter(cmd)
	limit := cmd.Flags().Int("limit", 100, "How many sessions to show at most")
	cmd.RunE = flags.run(func(cmd *cobra.Command, _ []string) error {
		if *limit < 1 {
			return usageError{errors.New("--limit has to be at least 1")}
		}
		list, err := flags.listSessions(filter, *limit)
		if err != nil {
			return err
		}
		return flags.print(cmd, list, func(w io.Writer) { list.write(w) })
	})
	return cmd
}

// listSessions follows the pages of the list until there are enough sessions.
func (f *caddyFlags) listSessions(filter *sessionFilter, limit int) (sessionPage, error) {
	all := sessionPage{Sessions: []adminSession{}}
	header := make(http.Header)
	if filter.Connection != "" {
		header.Set(connectionField, filter.Connection)
	}
	for {
		query := url.Values{"limit": {strconv.Itoa(min(limit-len(all.Sessions), maxListed))}}
		for name, value := range map[string]string{"site": filter.Site, "provider": filter.Provider, "client_id": filter.ClientID, "cursor": all.Next} {
			if value != "" {
				query.Set(name, value)
			}
		}
		var page sessionPage
		if err := f.ask(http.MethodGet, "/truelayer/sessions?"+query.Encode(), header, nil, &page); err != nil {
			return all, err
		}
		again := page.Next == all.Next
		all.Sessions, all.Next = append(all.Sessions, page.Sessions...), page.Next
		if all.Next == "" || again || len(all.Sessions) >= limit {
			all.Sessions = all.Sessions[:min(limit, len(all.Sessions))]
			return all, nil
		}
	}
}

// write writes a list for people. What it says of a bank comes from the store, which may
// be in other hands.
func (p sessionPage) write(w io.Writer) {
	if len(p.Sessions) == 0 {
		fmt.Fprintln(w, "There is no such session.")
		return
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tSITE\tPROVIDER\tCREATED\tLAST SEEN\tEXPIRES")
	for _, s := range p.Sessions {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", sanitize(s.ID), sanitize(s.Site), cmp.Or(sanitize(s.Provider), "-"),
			s.Created.UTC().Format(time.RFC3339), s.LastSeen.UTC().Format(time.RFC3339), s.Expires.UTC().Format(time.RFC3339))
	}
	_ = table.Flush()
	if p.Next != "" {
		fmt.Fprintln(w, "There are more: raise --limit, or use --site, --provider or --connection.")
	}
}

// countCommand returns `caddy truelayer sessions count`.
func countCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "count",
		Short: "Counts sessions by site and bank",
		Long:  "Counts the sessions of each site and bank. If that takes too long, it says that there are at least so many.",
		Args:  exactly(0),
	}
	flags := addCaddyFlags(cmd, configForAddress)
	cmd.RunE = flags.run(func(cmd *cobra.Command, _ []string) error {
		var counts sessionCounts
		if err := flags.ask(http.MethodGet, "/truelayer/sessions/count", nil, nil, &counts); err != nil {
			return err
		}
		return flags.print(cmd, counts, func(w io.Writer) { counts.write(w) })
	})
	return cmd
}

// write writes the counts for people.
func (c sessionCounts) write(w io.Writer) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SITE\tPROVIDER\tSESSIONS")
	for _, count := range c.Counts {
		fmt.Fprintf(table, "%s\t%s\t%d\n", sanitize(count.Site), cmp.Or(sanitize(count.Provider), "-"), count.Sessions)
	}
	fmt.Fprintf(table, "total\t\t%d\n", c.Total)
	_ = table.Flush()
	if c.Estimate {
		fmt.Fprintln(w, "These are at least as many: counting took too long to go on.")
	}
}

// revokeCommand returns `caddy truelayer sessions revoke`.
func revokeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "revoke <id> | --site <site> | --provider <id> | --connection <id> | --all",
		Short: "Ends sessions",
		Long: `Ends the session with an id, or all that the flags choose. Several flags choose the
sessions that fit all of them. It asks nothing: look with "sessions list" first.

Whoever has such a session sees at the next request that it was ended, and can log in
again. The consent at the bank stays.

Exit status: 0 if all of them ended, 1 if some did not, 2 if nothing was chosen.`,
		Example: "  caddy truelayer sessions revoke --site app.example.com/truelayer --provider ob-monzo",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return failUsage(cmd, errors.New("give one id, or flags"))
			}
			return nil
		},
	}
	flags, filter := addCaddyFlags(cmd, configForAddress), addSessionFilter(cmd)
	cmd.Flags().BoolVar(&filter.All, "all", false, "End all sessions")
	cmd.RunE = flags.run(func(cmd *cobra.Command, args []string) error {
		revoked, err := flags.revoke(filter, args)
		if err != nil {
			return err
		}
		err = flags.print(cmd, revoked, func(w io.Writer) {
			fmt.Fprintf(w, "ended: %d, failed: %d\n", revoked.Revoked, revoked.Failed)
		})
		if err == nil && revoked.Failed > 0 {
			return errChecksFailed
		}
		return err
	})
	return cmd
}

// revoke ends the session whose id is the argument, or those that the filter selects.
func (f *caddyFlags) revoke(filter *sessionFilter, args []string) (revoked revokedSessions, err error) {
	nothing := *filter == sessionFilter{}
	switch {
	case len(args) == 1 && !nothing:
		return revoked, usageError{errors.New("give an id, or flags, not both")}
	case len(args) == 1 && args[0] != "":
		err = f.ask(http.MethodDelete, "/truelayer/sessions/"+url.PathEscape(args[0]), nil, nil, &revoked)
		return revoked, err
	case nothing:
		return revoked, usageError{errors.New("say which sessions to end: give an id, --site, --provider, --connection, --client-id or --all")}
	case filter.All && *filter != sessionFilter{All: true}:
		return revoked, usageError{errors.New("--all is for all sessions: leave it out, or the other flags")}
	}
	err = f.ask(http.MethodPost, "/truelayer/sessions/revoke", nil, filter, &revoked)
	return revoked, err
}
