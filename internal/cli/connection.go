package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"

	"github.com/gco-project/gco/client"
	"github.com/gco-project/gco/internal/aws/identity"
)

// defaultAddress is where gco up listens unless told otherwise.
const defaultAddress = "http://127.0.0.1:8420"

// connection is the global flags that say which server to talk to, and as
// whom.
type connection struct {
	address   string
	token     string
	tokenFile string
	caFile    string
	auth      string
	audience  string
}

// The values of --auth.
const (
	authToken = "token"
	authIAM   = "aws-iam"
)

func (c *connection) register(flags *pflag.FlagSet) {
	flags.StringVar(&c.address, "addr", "", "`URL` of the server (GCO_ADDR)")
	flags.StringVar(&c.token, "token", "", "bearer `TOKEN` (GCO_TOKEN); better kept in a file, where other users don't see it")
	flags.StringVar(&c.tokenFile, "token-file", "", "`FILE` that holds the token (GCO_TOKEN_FILE)")
	flags.StringVar(&c.caFile, "ca-file", "", "`FILE` of certificates that may sign the server's, PEM (GCO_CA_FILE)")
	flags.StringVar(&c.auth, "auth", "", "who you are by: `token|aws-iam`, a token or your credentials of AWS (GCO_AUTH)")
	flags.StringVar(&c.audience, "audience", "", "`NAME` of the server that credentials of AWS are for (GCO_AUDIENCE; default: the host in its address)")
}

// UserConfig is the user's own file: which server to talk to. gco up writes
// it.
type UserConfig struct {
	Address string `json:"address,omitempty"`
	Token   string `json:"token,omitempty"`
	CAFile  string `json:"caFile,omitempty"`
	// Auth is token or aws-iam; empty is token.
	Auth string `json:"auth,omitempty"`
	// Audience is the server's name for aws-iam; empty is the host in Address.
	Audience string `json:"audience,omitempty"`
	// WrittenBy names the command that wrote the file and may replace it; a
	// person's own file has none.
	WrittenBy string `json:"writtenBy,omitempty"`
}

// source is where a setting came from, for messages.
type source struct{ value, from string }

// settings is what the connection comes down to.
type settings struct {
	address, token, caFile source
	auth, audience         source
}

// settings resolves the connection: flags, then environment, then the user's
// config file, then the address of gco up.
func (p *Program) settings() (settings, error) {
	path, err := p.userConfigPath()
	if err != nil {
		return settings{}, err
	}
	user, err := readUserConfig(path)
	if err != nil {
		return settings{}, err
	}
	token, err := p.token(user, path)
	if err != nil {
		return settings{}, err
	}
	s := settings{
		address: first(source{p.flags.address, "--addr"}, p.env("GCO_ADDR"), source{user.Address, path}, source{defaultAddress, "the default"}),
		token:   token,
		caFile:  first(source{p.flags.caFile, "--ca-file"}, p.env("GCO_CA_FILE"), source{user.CAFile, path}),
		auth:    first(source{p.flags.auth, "--auth"}, p.env("GCO_AUTH"), source{user.Auth, path}, source{authToken, "the default"}),
	}
	if s.auth.value != authToken && s.auth.value != authIAM {
		return settings{}, fmt.Errorf("%s says %q: %s or %s expected", s.auth.from, s.auth.value, authToken, authIAM)
	}
	s.audience = first(source{p.flags.audience, "--audience"}, p.env("GCO_AUDIENCE"), source{user.Audience, path}, source{hostOf(s.address.value), "the address"})
	return s, nil
}

// hostOf is the host in an address, with or without its scheme.
func hostOf(address string) string {
	_, rest, found := strings.Cut(address, "://")
	if !found {
		rest = address
	}
	if u, err := url.Parse("//" + rest); err == nil {
		return u.Hostname()
	}
	return ""
}

func (p *Program) token(user UserConfig, path string) (source, error) {
	for _, candidate := range []struct{ token, file source }{
		{source{p.flags.token, "--token"}, source{p.flags.tokenFile, "--token-file"}},
		{p.env("GCO_TOKEN"), p.env("GCO_TOKEN_FILE")},
		{source{user.Token, path}, source{}},
	} {
		if candidate.token.value != "" {
			return candidate.token, nil
		}
		if file := candidate.file; file.value != "" {
			text, err := os.ReadFile(file.value)
			if err != nil {
				return source{}, fmt.Errorf("reading the token that %s names: %w", file.from, err)
			}
			return source{strings.TrimSpace(string(text)), file.value}, nil
		}
	}
	return source{from: "nowhere"}, nil
}

func (p *Program) env(name string) source {
	value, _ := p.Lookup(name)
	return source{value, name}
}

func first(candidates ...source) source {
	for _, candidate := range candidates {
		if candidate.value != "" {
			return candidate
		}
	}
	return source{from: "nowhere"}
}

// userConfigPath is GCO_CONFIG, or gco/config.yaml in the user's directory for
// configuration.
func (p *Program) userConfigPath() (string, error) {
	if path, _ := p.Lookup("GCO_CONFIG"); path != "" {
		return path, nil
	}
	dir, err := p.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("finding your config directory: %w; set GCO_CONFIG to a file", err)
	}
	return filepath.Join(dir, "gco", "config.yaml"), nil
}

// readUserConfig returns an empty one where there is no file.
func readUserConfig(path string) (UserConfig, error) {
	var user UserConfig
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return user, nil
	}
	if err != nil {
		return user, fmt.Errorf("reading your config: %w", err)
	}
	if err := yaml.UnmarshalStrict(text, &user); err != nil {
		return user, fmt.Errorf("%s is not a config of gco: %w; mend it, or remove it and run gco up", path, err)
	}
	return user, nil
}

// writeUserConfig replaces the file at once, readable by its owner only.
func writeUserConfig(path string, user UserConfig) error {
	text, err := yaml.Marshal(user)
	if err != nil {
		return fmt.Errorf("writing your config: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("writing your config: %w", err)
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), ".config-*") // made with mode 0600
	if err != nil {
		return fmt.Errorf("writing your config: %w", err)
	}
	_, err = temporary.Write(text)
	err = cmp.Or(err, temporary.Close())
	if err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err != nil {
		_ = os.Remove(temporary.Name())
		return fmt.Errorf("writing your config: %w", err)
	}
	return nil
}

// connect returns a client for the server that the settings name. options
// come after its own.
func (p *Program) connect(options ...client.Option) (*client.Client, error) {
	s, err := p.settings()
	if err != nil {
		return nil, err
	}
	if s.caFile.value != "" {
		options = append([]client.Option{client.WithCA(s.caFile.value)}, options...)
	}
	token := s.token.value
	if s.auth.value == authIAM {
		signer := identity.NewSigner(s.audience.value, p.Clock)
		token, options = "", append([]client.Option{client.WithTokenSource(signer.Credential)}, options...)
	}
	options = append([]client.Option{client.WithUserAgent("gco/" + thisVersion().Version)}, options...)
	return client.New(s.address.value, token, options...)
}
