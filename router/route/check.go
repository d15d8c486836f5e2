package route

import (
	"errors"
	"fmt"
	"strings"
)

// check reports what is wrong with a model on its own.
func check(m Model) error {
	var problems []error
	wrong := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("model %q: "+format, append([]any{m.Name}, args...)...))
	}
	if !isLabel(m.Name) {
		wrong("the name is not lower-case letters, digits and dashes, 63 at most")
	}
	for _, h := range m.Hosts {
		if !isHost(h) {
			wrong("host %q is not a lower-case host name without port", h)
		}
	}
	for _, typ := range m.EventTypes {
		if typ == "" {
			wrong("an event type is empty")
		}
	}
	names, tags, total := map[string]bool{}, map[string]bool{}, 0
	for _, rev := range m.Revisions {
		if !isLabel(rev.Name) || names[rev.Name] {
			wrong("revision %q: the name is there twice or not lower-case letters, digits and dashes, 63 at most", rev.Name)
		}
		names[rev.Name] = true
		for _, tag := range rev.Tags {
			if !isLabel(tag) {
				wrong("revision %q: tag %q is not lower-case letters, digits and dashes, 63 at most", rev.Name, tag)
			}
			if tags[tag] {
				wrong("revision %q: tag %q is there twice", rev.Name, tag)
			}
			tags[tag] = true
		}
		if rev.Version < 0 {
			wrong("revision %q: version %d is negative", rev.Name, rev.Version)
		}
		if rev.Percent < 0 || rev.Percent > 100 {
			wrong("revision %q: %d is not a percentage", rev.Name, rev.Percent)
		}
		total += rev.Percent
	}
	if total > 100 {
		wrong("the percentages sum to %d, over 100", total)
	}
	return errors.Join(problems...)
}

// isLabel says whether s is a DNS label (RFC 1123), as Kubernetes names Services, revisions and tags.
func isLabel(s string) bool {
	if len(s) == 0 || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

func isHost(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if !isLabel(label) {
			return false
		}
	}
	return true
}
