package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSettingsComeFromFlagsThenEnvironmentThenFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "gco", "config.yaml")
	tokenFile := filepath.Join(dir, "token")
	if err := os.WriteFile(tokenFile, []byte("from-token-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	written := UserConfig{Address: "http://file:1", Token: "from-file", CAFile: "ca.pem"}
	if err := writeUserConfig(path, written); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name           string
		flags          connection
		env            map[string]string
		address, token string
		from           string
	}{
		{"file", connection{}, nil, "http://file:1", "from-file", path},
		{"environment", connection{}, map[string]string{"GCO_ADDR": "http://env:1", "GCO_TOKEN": "from-env"}, "http://env:1", "from-env", "GCO_ADDR"},
		{"token file in the environment", connection{}, map[string]string{"GCO_TOKEN_FILE": tokenFile}, "http://file:1", "from-token-file", path},
		{"flags", connection{address: "http://flag:1", token: "from-flag"}, map[string]string{"GCO_ADDR": "http://env:1", "GCO_TOKEN": "from-env"}, "http://flag:1", "from-flag", "--addr"},
		{"token file by flag", connection{tokenFile: tokenFile}, map[string]string{"GCO_TOKEN": "from-env"}, "http://file:1", "from-token-file", path},
	} {
		p, _, _ := testProgram(t)
		p.UserConfigDir = func() (string, error) { return dir, nil }
		p.Lookup = func(name string) (string, bool) { value, ok := test.env[name]; return value, ok }
		p.flags = test.flags
		s, err := p.settings()
		if err != nil {
			t.Fatal(err)
		}
		if s.address.value != test.address || s.token.value != test.token || s.address.from != test.from {
			t.Errorf("%s: %+v", test.name, s)
		}
	}
}

func TestSettingsWithoutAnything(t *testing.T) {
	p, _, _ := testProgram(t)
	s, err := p.settings()
	if err != nil {
		t.Fatal(err)
	}
	if s.address.value != defaultAddress || s.token.value != "" {
		t.Errorf("settings = %+v", s)
	}
}

func TestUserConfigIsForItsOwnerOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "config.yaml")
	for range 2 { // made, then replaced
		if err := writeUserConfig(path, UserConfig{Token: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("mode = %o, want 600", mode)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("the directory holds %v, want the file alone (%v)", left, err)
	}
}

func TestUserConfigThatIsNone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte("server: http://x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := readUserConfig(path)
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "gco up") {
		t.Errorf("error %v, want one that names the file and what to do", err)
	}
}

func FuzzUserConfig(f *testing.F) {
	for _, seed := range []string{"address: http://x\ntoken: y\n", "a: b", "[]", "address: [1]", "\x00"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		user, err := readUserConfig(path)
		if err != nil {
			return
		}
		if err := writeUserConfig(path, user); err != nil {
			t.Fatal(err)
		}
		again, err := readUserConfig(path)
		if err != nil || again != user {
			t.Errorf("%+v was read back as %+v, %v", user, again, err)
		}
	})
}

func TestCallersOfAWSByFlagEnvironmentAndFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "gco", "config.yaml")
	for _, test := range []struct {
		name           string
		file           UserConfig
		flags          connection
		env            map[string]string
		auth, audience string
	}{
		{"nothing", UserConfig{}, connection{}, nil, authToken, "127.0.0.1"},
		{"file", UserConfig{Address: "https://gco.example.com:8443/x", Auth: authIAM}, connection{}, nil, authIAM, "gco.example.com"},
		{"environment", UserConfig{Auth: authToken}, connection{}, map[string]string{"GCO_AUTH": authIAM, "GCO_AUDIENCE": "other"}, authIAM, "other"},
		{"flags", UserConfig{}, connection{address: "[::1]:80", auth: authIAM}, map[string]string{"GCO_AUTH": authToken}, authIAM, "::1"},
		{"audience in the file", UserConfig{Audience: "file"}, connection{address: "gco.example.com"}, nil, authToken, "file"},
	} {
		if err := writeUserConfig(path, test.file); err != nil {
			t.Fatal(err)
		}
		p, _, _ := testProgram(t)
		p.UserConfigDir = func() (string, error) { return dir, nil }
		p.Lookup = func(name string) (string, bool) { value, ok := test.env[name]; return value, ok }
		p.flags = test.flags
		s, err := p.settings()
		if err != nil || s.auth.value != test.auth || s.audience.value != test.audience {
			t.Errorf("%s: %+v, %v", test.name, s, err)
		}
	}
	p, _, _ := testProgram(t)
	p.flags = connection{auth: "password"}
	if _, err := p.settings(); err == nil || !strings.Contains(err.Error(), `--auth says "password"`) {
		t.Errorf("an unknown way: %v", err)
	}
}
