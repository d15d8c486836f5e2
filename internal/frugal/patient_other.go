//go:build !linux

package frugal

// Patient makes this process one that does not interrupt others, where the kernel knows that.
func Patient() {}

// PatientUnlessNice is Patient for a process that was not started nicer than others.
func PatientUnlessNice() {}
