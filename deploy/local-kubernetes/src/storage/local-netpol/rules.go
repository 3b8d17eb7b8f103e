package main

import (
	"fmt"
	"slices"
	"strings"

	core "k8s.io/api/core/v1"
	net "k8s.io/api/networking/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

type state struct {
	pods       []*core.Pod
	namespaces map[string]labels.Set
	policies   []*net.NetworkPolicy
}

func matches(s *meta.LabelSelector, l labels.Set) bool {
	sel, err := meta.LabelSelectorAsSelector(s)
	return err == nil && sel.Matches(l)
}

func running(p *core.Pod) bool {
	return p.Status.PodIP != "" && !p.Spec.HostNetwork && p.Status.Phase != core.PodSucceeded && p.Status.Phase != core.PodFailed
}

// ports writes the L4 part of rules; for a named port it looks at pods.
func ports(list []net.NetworkPolicyPort, pods []*core.Pod) []string {
	if len(list) == 0 {
		return []string{""}
	}
	var out []string
	for _, p := range list {
		proto := "tcp"
		if p.Protocol != nil {
			proto = strings.ToLower(string(*p.Protocol))
		}
		switch {
		case p.Port == nil:
			out = append(out, "meta l4proto "+proto)
		case p.Port.StrVal != "":
			for _, pod := range pods {
				for _, c := range pod.Spec.Containers {
					for _, cp := range c.Ports {
						if cp.Name == p.Port.StrVal && strings.EqualFold(string(cp.Protocol), proto) {
							out = append(out, fmt.Sprintf("%s dport %d", proto, cp.ContainerPort))
						}
					}
				}
			}
		case p.EndPort != nil:
			out = append(out, fmt.Sprintf("%s dport %d-%d", proto, p.Port.IntVal, *p.EndPort))
		default:
			out = append(out, fmt.Sprintf("%s dport %d", proto, p.Port.IntVal))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// peers writes the address part of rules, and the pods it selects.
func (s *state) peers(ns string, list []net.NetworkPolicyPeer, field string) (out []string, pods []*core.Pod) {
	if len(list) == 0 {
		return []string{""}, s.pods
	}
	var ips []string
	for _, peer := range list {
		if b := peer.IPBlock; b != nil {
			if strings.Contains(b.CIDR, ":") {
				continue
			}
			m := "ip " + field + " " + b.CIDR
			if len(b.Except) > 0 {
				m += " ip " + field + " != { " + strings.Join(b.Except, ", ") + " }"
			}
			out = append(out, m)
			continue
		}
		for _, p := range s.pods {
			if peer.NamespaceSelector == nil && p.Namespace != ns || peer.NamespaceSelector != nil && !matches(peer.NamespaceSelector, s.namespaces[p.Namespace]) {
				continue
			}
			if peer.PodSelector == nil || matches(peer.PodSelector, p.Labels) {
				ips, pods = append(ips, p.Status.PodIP), append(pods, p)
			}
		}
	}
	if slices.Sort(ips); len(ips) > 0 {
		out = append(out, "ip "+field+" { "+strings.Join(slices.Compact(ips), ", ")+" }")
	}
	return out, pods
}

func (s *state) rules(node string) string {
	var chains, in, eg strings.Builder
	for _, pod := range s.pods {
		if pod.Spec.NodeName != node {
			continue
		}
		var isolated [2]bool
		var body [2]strings.Builder
		for _, np := range s.policies {
			if np.Namespace != pod.Namespace || !matches(&np.Spec.PodSelector, pod.Labels) {
				continue
			}
			if slices.Contains(np.Spec.PolicyTypes, net.PolicyTypeIngress) {
				isolated[0] = true
				for _, r := range np.Spec.Ingress {
					from, _ := s.peers(np.Namespace, r.From, "saddr")
					for _, f := range from {
						for _, p := range ports(r.Ports, []*core.Pod{pod}) {
							fmt.Fprintf(&body[0], "  %s %s return\n", f, p)
						}
					}
				}
			}
			if slices.Contains(np.Spec.PolicyTypes, net.PolicyTypeEgress) {
				isolated[1] = true
				for _, r := range np.Spec.Egress {
					to, pods := s.peers(np.Namespace, r.To, "daddr")
					for _, t := range to {
						for _, p := range ports(r.Ports, pods) {
							fmt.Fprintf(&body[1], "  %s %s return\n", t, p)
						}
					}
				}
			}
		}
		ip := pod.Status.PodIP
		for i, w := range []*strings.Builder{&in, &eg} {
			if isolated[i] {
				name := fmt.Sprintf("%s-%s", []string{"in", "eg"}[i], strings.ReplaceAll(ip, ".", "-"))
				fmt.Fprintf(&chains, " chain %s { # %s/%s\n%s  counter drop\n }\n", name, pod.Namespace, pod.Name, body[i].String())
				fmt.Fprintf(w, "  ip %s %s jump %s\n", []string{"daddr", "saddr"}[i], ip, name)
			}
		}
	}
	return "table ip local_netpol\ndelete table ip local_netpol\ntable ip local_netpol {\n" + chains.String() +
		" chain forward {\n  type filter hook forward priority filter - 5; policy accept;\n  ct state established,related accept\n" + eg.String() + in.String() + " }\n}\n"
}
