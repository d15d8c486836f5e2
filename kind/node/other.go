//go:build !linux

package node

import (
	"context"
	"errors"
)

var errLinux = errors.New("--on node needs Linux: on other systems use --on kind or --on minikube")

func check(string) error                             { return errLinux }
func build(context.Context, Options) (string, error) { return "", errLinux }
func up(context.Context, Options) (Info, error)      { return Info{}, errLinux }
func down(context.Context, Options) error            { return errLinux }
func keep(context.Context, string) error             { return errLinux }
func initProcess() error                             { return errLinux }
