package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/internal/config"
	"github.com/gco-project/gco/internal/daemon"
)

type serverOptions struct {
	daemonOptions
	account
	storeFlags
	listen  string
	bucket  string
	tlsCert string
	tlsKey  string
}

func newServer(p *Program, run func(context.Context, *serverOptions) error) *cobra.Command {
	opts := &serverOptions{daemonOptions: daemonOptions{Program: p}}
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Run the control plane",
		Long: `Server runs the control plane: the API, the queue and its database. Regions come
to it by themselves (gco agent), over HTTPS.

The first start makes an admin token and writes it to admin.token in the
directory, readable by its owner only.`,
		Example: `  gco server --dir /var/lib/gco
  gco server --project gco --global-region us-east-2
  gco server --config gco.yaml --listen 0.0.0.0:8443 --tls-cert cert.pem --tls-key key.pem`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := opts.daemonOptions.check(cmd); err != nil {
				return err
			}
			if err := opts.storeFlags.check(cmd); err != nil {
				return err
			}
			return run(cmd.Context(), opts)
		},
	}
	opts.daemonOptions.register(cmd.Flags())
	opts.account.register(cmd.Flags())
	opts.storeFlags.register(cmd.Flags())
	cmd.Flags().StringVar(&opts.listen, "listen", "", "`ADDRESS` and port of the API (default 127.0.0.1:8420)")
	cmd.Flags().StringVar(&opts.bucket, "bucket", "", "`URL` of a bucket for archived logs and large manifests, such as s3://BUCKET?region=REGION (default: in the directory)")
	cmd.Flags().StringVar(&opts.tlsCert, "tls-cert", "", "`FILE` of the certificate chain, PEM; read again when it changes")
	cmd.Flags().StringVar(&opts.tlsKey, "tls-key", "", "`FILE` of the certificate's key, PEM")
	opts.daemonOptions.completions(cmd)
	opts.account.completions(cmd)
	opts.storeFlags.completions(cmd)
	return cmd
}

func runServer(ctx context.Context, opts *serverOptions) error {
	c, _, err := daemon.DiscoverConfig(ctx, opts.configFile, slices.Concat(opts.account.overlays(opts.Program), opts.storeFlags.overlays())...)
	if err != nil {
		return err
	}
	opts.override(&c)
	if opts.listen != "" {
		c.Server.Listen = opts.listen
	}
	if opts.bucket != "" {
		c.Server.Bucket = opts.bucket
	}
	if opts.tlsCert != "" || opts.tlsKey != "" {
		c.Server.TLS = config.TLS{Cert: opts.tlsCert, Key: opts.tlsKey}
	}
	if err := c.Validate(); err != nil {
		return err
	}
	if c.Server.Dir == "" && c.Store.Driver == config.DriverDynamoDB {
		// Only the first admin token is kept there.
		if c.Server.Dir, err = opts.UserStateDir(); err != nil {
			return fmt.Errorf("finding your directory for state: %w; pass --dir", err)
		}
		c.Server.Dir = filepath.Join(c.Server.Dir, "gco-"+c.Project)
	}
	if c.Server.Dir == "" {
		return errors.New("the server needs a directory for its database: pass --dir, or set server.dir in the configuration")
	}
	dir, err := stateDir(c.Server.Dir)
	if err != nil {
		return err
	}
	c.Timing = c.Timing.Or(config.TimingInProduction)
	log := opts.log(c, slog.LevelInfo)
	plane, err := daemon.OpenControlPlane(ctx, daemon.ControlPlaneOptions{
		Config: c, Dir: dir, Version: thisVersion(), Clock: opts.Clock, Log: log,
	})
	if err != nil {
		return err
	}
	if c.Backups.Vault == "" && c.Store.Driver == config.DriverSQLite {
		log.Warn("nothing backs the database up: name a vault in backups.vault of the configuration")
	}
	log.Info("serving", "address", plane.URL, "dir", dir, "admin-token", plane.AdminTokenFile)
	return plane.Run(ctx)
}
