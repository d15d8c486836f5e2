package model

import (
	"context"
	"maps"
	"slices"
)

// Hook is code before and after one signature of a Model. The zero Before and After do nothing.
type Hook struct {
	// Signature is the one it is for. A model without it is not changed.
	Signature string
	// Outputs are what After adds to the signature.
	Outputs []TensorSpec
	// Replaces names outputs of the model that are given only if they are asked for by name; the others stay.
	Replaces []string
	// Needs names the outputs of the model that After reads.
	Needs []string
	// Before may change a request.
	Before func(ctx context.Context, req *Request) error
	// After adds Outputs to the answer.
	After func(ctx context.Context, resp *Response) error
}

// hooked is a Model with a Hook.
type hooked struct {
	Model
	hook Hook
	meta Metadata
}

// WithHook puts a hook around a model. The signature's metadata says what it answers with the hook.
func WithHook(m Model, h Hook) Model {
	meta := m.Metadata()
	sig, ok := meta.Signatures[h.Signature]
	if !ok {
		return m
	}
	sig.Outputs = slices.SortedFunc(slices.Values(append(slices.Clone(sig.Outputs), h.Outputs...)), func(a, b TensorSpec) int {
		switch {
		case a.Name < b.Name:
			return -1
		case a.Name > b.Name:
			return 1
		}
		return 0
	})
	meta.Signatures = maps.Clone(meta.Signatures)
	meta.Signatures[h.Signature] = sig
	return &hooked{Model: m, hook: h, meta: meta}
}

// Metadata is the model's, with the hook's outputs.
func (h *hooked) Metadata() Metadata { return h.meta }

// Predict runs the hook around the model.
func (h *hooked) Predict(ctx context.Context, req Request) (Response, error) {
	name := req.Signature
	if name == "" {
		name = DefaultSignature
	}
	if name != h.hook.Signature {
		return h.Model.Predict(ctx, req)
	}
	if _, err := h.meta.Resolve(req); err != nil {
		return Response{}, err
	}
	if h.hook.Before != nil {
		if err := h.hook.Before(ctx, &req); err != nil {
			return Response{}, err
		}
	}
	wanted := req.Outputs
	if len(wanted) == 0 {
		wanted = h.defaults()
	}
	req.Outputs = h.ask(wanted)
	resp, err := h.Model.Predict(ctx, req)
	if err != nil {
		return Response{}, err
	}
	if h.hook.After != nil {
		if err := h.hook.After(ctx, &resp); err != nil {
			return Response{}, err
		}
	}
	maps.DeleteFunc(resp.Outputs, func(name string, _ Tensor) bool { return !slices.Contains(wanted, name) })
	return resp, nil
}

// defaults are the outputs given if none is asked for.
func (h *hooked) defaults() []string {
	var names []string
	for _, o := range h.meta.Signatures[h.hook.Signature].Outputs {
		if !slices.Contains(h.hook.Replaces, o.Name) {
			names = append(names, o.Name)
		}
	}
	return names
}

// ask are the model's own outputs among those wanted, with those that After reads.
func (h *hooked) ask(wanted []string) []string {
	names := slices.Clone(h.hook.Needs)
	inner := h.Model.Metadata().Signatures[h.hook.Signature]
	for _, w := range wanted {
		if _, ok := inner.Output(w); ok && !slices.Contains(names, w) {
			names = append(names, w)
		}
	}
	return names
}
