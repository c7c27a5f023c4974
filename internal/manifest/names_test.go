package manifest

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"
)

func FuzzNames(f *testing.F) {
	for _, seed := range []string{
		"", "a", "A", "a-b", "-a", "a-", "a.b", "a..b", ".a", "a_b", "a/b", "a/", "/a", "a/b/c", "A/b", "a.b/C_d", "é", "a b", "\n", "a\n",
		strings.Repeat("a", 63), strings.Repeat("a", 64), strings.Repeat("a.", 126) + "a", strings.Repeat("a.", 127) + "a",
		strings.Repeat("a", 253) + "/" + strings.Repeat("b", 63), strings.Repeat("a", 254) + "/b", "nvidia.com/gpu", "kubernetes.io/arch",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		for rule, c := range map[string]struct {
			own    bool
			theirs []string
		}{
			"label":          {dnsLabel(name), validation.IsDNS1123Label(name)},
			"subdomain":      {dnsSubdomain(name), validation.IsDNS1123Subdomain(name)},
			"qualified name": {qualifiedName(name), validation.IsQualifiedName(name)},
			"label value":    {labelValue(name), validation.IsValidLabelValue(name)},
		} {
			if c.own != (len(c.theirs) == 0) {
				t.Errorf("%q as %s: %t, Kubernetes says %v", name, rule, c.own, c.theirs)
			}
		}
	})
}
