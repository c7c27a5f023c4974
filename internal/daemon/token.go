package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"k8s.io/utils/clock"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
	"github.com/gco-project/gco/internal/backup"
	"github.com/gco-project/gco/internal/server"
	"github.com/gco-project/gco/internal/store"
	"github.com/gco-project/gco/internal/store/sqlite"
)

// adminFile holds the first admin token, in the control plane's directory.
const adminFile = "admin.token"

// agentFile names the file of a region's token, in the region's directory.
func agentFile(dir, id string) string { return filepath.Join(dir, "agent-"+id+".token") }

// AgentToken returns the file with the token by which a region's agent
// speaks, in dir and readable by its owner only. Where there is none that the
// server knows, one is made through the API.
func AgentToken(ctx context.Context, c *client.Client, region, dir string) (file string, err error) {
	name := "agent-" + region
	list, err := c.Tokens(ctx)
	if err != nil {
		return "", fmt.Errorf("listing tokens: %w", err)
	}
	for _, token := range list.Items {
		if token.Name != name {
			continue
		}
		file = agentFile(dir, token.ID)
		if _, err := os.Stat(file); err == nil {
			return file, nil
		}
		// Its secret is gone, so nobody can use it any more.
		if err := c.DeleteToken(ctx, token.ID); err != nil {
			return "", fmt.Errorf("replacing the token of region %s: %w", region, err)
		}
	}
	created, err := c.CreateToken(ctx, api.NewToken{Name: name, Role: string(server.Agent), Region: region})
	if err != nil {
		return "", fmt.Errorf("making a token for region %s: %w", region, err)
	}
	file = agentFile(dir, created.ID)
	if err := writeSecret(file, created.Secret); err != nil {
		return "", fmt.Errorf("keeping the token of region %s: %w", region, err)
	}
	return file, nil
}

// adminToken makes the first admin token and keeps it in dir. renew makes a
// new one where the file is missing, and ends the one that the file held.
func (c *ControlPlane) adminToken(ctx context.Context, renew bool) error {
	c.AdminTokenFile = filepath.Join(c.dir, adminFile)
	tokens := store.Tokens(c.store)
	if _, err := os.Stat(c.AdminTokenFile); errors.Is(err, fs.ErrNotExist) && renew {
		if err := endToken(ctx, tokens, "admin"); err != nil {
			return err
		}
		tokens = noneYet{tokens}
	}
	secret, err := server.Bootstrap(ctx, tokens, c.clock.Now())
	if err != nil {
		return err
	}
	if secret == "" {
		// Another server of the same tables may have made it.
		if _, err := os.Stat(c.AdminTokenFile); errors.Is(err, fs.ErrNotExist) {
			c.AdminTokenFile = ""
		}
		return nil
	}
	if err := writeSecret(c.AdminTokenFile, secret); err != nil {
		return fmt.Errorf("keeping the admin token: %w", err)
	}
	return nil
}

// RenewAdminToken makes a new admin token for the database in a directory that
// no server uses, and ends the one that was made before. It returns the file
// that holds it.
func RenewAdminToken(ctx context.Context, dir string, clock clock.WithTicker) (file string, err error) {
	s, err := sqlite.Open(ctx, sqlite.Options{Path: filepath.Join(dir, backup.DatabaseFile), Readers: 1})
	if err != nil {
		return "", err
	}
	c := &ControlPlane{dir: dir, clock: clock, store: s}
	err = c.adminToken(ctx, true)
	return c.AdminTokenFile, errors.Join(err, s.Close())
}

// noneYet makes Bootstrap think that there is no token.
type noneYet struct{ tokenStore }

// tokenStore has a name of its own to be embedded under.
type tokenStore interface{ store.Tokens }

func (noneYet) Tokens(context.Context) ([]store.Token, error) { return nil, nil }

func endToken(ctx context.Context, tokens store.Tokens, name string) error {
	all, err := tokens.Tokens(ctx)
	if err != nil {
		return fmt.Errorf("looking for tokens: %w", err)
	}
	for _, token := range all {
		if token.Name == name {
			if err := tokens.DeleteToken(ctx, token.ID); err != nil {
				return fmt.Errorf("ending token %s: %w", name, err)
			}
		}
	}
	return nil
}

// writeSecret writes a file that only its owner can read.
func writeSecret(file, secret string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(secret+"\n"), 0o600)
}
