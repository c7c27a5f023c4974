package manifest

import "strings"

// The rules for names of Kubernetes (RFC 1123 and its own for labels), by
// hand: the regular expressions of its libraries took a fifth of the time of
// a submission. A test compares both.

// dnsLabel is the rule for the names of namespaces, containers and volumes.
func dnsLabel(name string) bool { return len(name) <= 63 && dnsPart(name) }

// dnsSubdomain is the rule for the names of most objects.
func dnsSubdomain(name string) bool {
	if len(name) > 253 {
		return false
	}
	for part := range strings.SplitSeq(name, ".") {
		if !dnsPart(part) {
			return false
		}
	}
	return true
}

func dnsPart(name string) bool {
	if name == "" || name[0] == '-' || name[len(name)-1] == '-' {
		return false
	}
	for i := range len(name) {
		if c := name[i]; !lower(c) && !digit(c) && c != '-' {
			return false
		}
	}
	return true
}

// qualifiedName is the rule for the keys of labels and annotations, and for
// resource names: a name, with a DNS subdomain and a slash before it or not.
func qualifiedName(name string) bool {
	if prefix, rest, found := strings.Cut(name, "/"); found {
		return dnsSubdomain(prefix) && simpleName(rest)
	}
	return simpleName(name)
}

// labelValue is the rule for the values of labels.
func labelValue(value string) bool { return value == "" || simpleName(value) }

func simpleName(name string) bool {
	if name == "" || len(name) > 63 || !alphanumeric(name[0]) || !alphanumeric(name[len(name)-1]) {
		return false
	}
	for i := range len(name) {
		if c := name[i]; !alphanumeric(c) && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

func lower(c byte) bool        { return 'a' <= c && c <= 'z' }
func digit(c byte) bool        { return '0' <= c && c <= '9' }
func alphanumeric(c byte) bool { return lower(c) || digit(c) || 'A' <= c && c <= 'Z' }
