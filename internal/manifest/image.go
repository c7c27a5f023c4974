package manifest

import "strings"

// hub is the registry of an image that names none.
const hub = "docker.io"

// repository is where an image comes from: a registry host, in lower case and
// with its port if there is one, and a path.
type repository struct{ host, path string }

// parseImage reads an image reference (host/path:tag@digest, of which only
// the path is required) as container runtimes do; ok is false for anything
// that is none. Source: the grammar of the distribution project.
func parseImage(image string) (repository, bool) {
	name, digest, hasDigest := strings.Cut(image, "@")
	if hasDigest && !validDigest(digest) {
		return repository{}, false
	}
	host, path := hub, name
	// What stands before the first slash is a host only if it cannot be a
	// part of a path on the default registry.
	if first, rest, found := strings.Cut(name, "/"); found && looksLikeHost(first) {
		host, path = strings.ToLower(first), rest
	}
	if slash, colon := strings.LastIndexByte(path, '/'), strings.LastIndexByte(path, ':'); colon > slash {
		if !validTag(path[colon+1:]) {
			return repository{}, false
		}
		path = path[:colon]
	}
	return normalRepository(host, path)
}

// parseRegistry reads an entry of Policy.AllowedRegistries: a host, with the
// beginning of a path or not.
func parseRegistry(entry string) (repository, bool) {
	host, path, hasPath := strings.Cut(entry, "/")
	if !looksLikeHost(host) || hasPath && !validPath(path) {
		return repository{}, false
	}
	host = strings.ToLower(host)
	return repository{canonicalHost(host), path}, validHost(host)
}

func normalRepository(host, path string) (repository, bool) {
	if !validHost(host) || !validPath(path) {
		return repository{}, false
	}
	host = canonicalHost(host)
	if host == hub && !strings.Contains(path, "/") {
		path = "library/" + path
	}
	return repository{host, path}, true
}

// canonicalHost knows the other name of the default registry.
func canonicalHost(host string) string {
	if host == "index.docker.io" {
		return hub
	}
	return host
}

// covers tells whether an allowed entry is for the image's repository: the
// same host, and the same beginning of the path, up to a slash.
func (r repository) covers(image repository) bool {
	if r.host != image.host {
		return false
	}
	rest, found := strings.CutPrefix(image.path, r.path)
	return found && (r.path == "" || rest == "" || rest[0] == '/')
}

func looksLikeHost(part string) bool {
	return part == "localhost" || strings.ContainsAny(part, ".:") || strings.ToLower(part) != part
}

// validHost is for a host in lower case: a name or an address, and a port.
func validHost(host string) bool {
	name, port, hasPort := strings.Cut(host, ":")
	if strings.HasPrefix(host, "[") { // an IPv6 address
		end := strings.IndexByte(host, ']')
		if end < 0 {
			return false
		}
		name, port, hasPort = host[1:end], "", end+1 < len(host)
		if hasPort {
			if host[end+1] != ':' {
				return false
			}
			port = host[end+2:]
		}
		return consists(name, func(c byte) bool { return digit(c) || 'a' <= c && c <= 'f' || c == ':' }) && (!hasPort || validPort(port))
	}
	return dnsSubdomain(name) && (!hasPort || validPort(port))
}

func validPort(port string) bool { return len(port) <= 5 && consists(port, digit) }

// validPath checks the parts of a path: lower-case letters and digits,
// joined by one point, one or two underscores, or any number of dashes. So no
// part is "..", and none is empty.
func validPath(path string) bool {
	for part := range strings.SplitSeq(path, "/") {
		if !validPathPart(part) {
			return false
		}
	}
	return true
}

func validPathPart(part string) bool {
	for i := 0; i < len(part); {
		start := i
		for i < len(part) && (lower(part[i]) || digit(part[i])) {
			i++
		}
		if i == start {
			return false
		}
		if i == len(part) {
			return true
		}
		start = i
		for i < len(part) && (part[i] == '.' || part[i] == '_' || part[i] == '-') {
			i++
		}
		if joint := part[start:i]; joint != "." && joint != "_" && joint != "__" && strings.Trim(joint, "-") != "" || joint == "" {
			return false
		}
	}
	return false
}

func validTag(tag string) bool {
	return len(tag) <= 128 && tag != "" && tag[0] != '.' && tag[0] != '-' &&
		consists(tag, func(c byte) bool { return alphanumeric(c) || c == '_' || c == '.' || c == '-' })
}

func validDigest(digest string) bool {
	algorithm, hex, found := strings.Cut(digest, ":")
	return found && len(hex) >= 32 && consists(hex, func(c byte) bool { return digit(c) || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F' }) &&
		alphanumeric(firstByte(algorithm)) && consists(algorithm, func(c byte) bool {
		return alphanumeric(c) || strings.IndexByte("+._-", c) >= 0
	})
}

func firstByte(text string) byte {
	if text == "" {
		return 0
	}
	return text[0]
}

// consists tells whether text is not empty and each byte of it passes.
func consists(text string, of func(byte) bool) bool {
	for i := range len(text) {
		if !of(text[i]) {
			return false
		}
	}
	return text != ""
}
