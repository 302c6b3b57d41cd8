/** The flags of every command that connects to a server. */
import { Schema } from "effect"
import { GroupName, Name } from "../../protocol/Ids.ts"
import { file, host, onOff, port, word } from "../flags/kinds.ts"
import { flagsOf, optional, type ValuesOf, withDefault, withVariable } from "../flags/rows.ts"

/** The name of a client, as `--name` takes it. */
export const name = word("a name (1-64 of A-Z a-z 0-9 . _ -, unlike a member id such as m1)", Schema.is(Name), "name")

export const rows = {
  host: withDefault(
    { ...withVariable("host"), kind: host, shown: "`127.0.0.1`", help: "Name or address of the server" },
    "127.0.0.1"
  ),
  port: withDefault({ ...withVariable("port"), kind: port(1), help: "Port of the server" }, 5000),
  name: optional({ name: "name", kind: name, help: "Take this name" }),
  group: optional({
    name: "group",
    kind: word("a group (1-64 of A-Z a-z 0-9 . _ -)", Schema.is(GroupName), "group"),
    shown: "default",
    help: "Join this group"
  }),
  tokenFrom: optional({
    name: "token-from",
    kind: file("Name a file that contains the token"),
    help: "File with the token to show. Without it, `RANKD_TOKEN` contains the token"
  }),
  tls: withDefault(
    { ...withVariable("tls"), kind: onOff, shown: "", help: "Connect over TLS. `--ca` and `--cert` imply it" },
    false
  ),
  ca: optional({
    ...withVariable("ca"),
    kind: file("Name the PEM file of the CA"),
    shown: "Node's CAs",
    help: "PEM file with the CA of the server's certificate"
  }),
  cert: optional({
    ...withVariable("cert"),
    kind: file("Name the PEM file of the certificate"),
    help: "PEM file with this client's certificate"
  }),
  key: optional({
    ...withVariable("key"),
    kind: file("Name the PEM file of the private key"),
    help: "PEM file with the private key of that certificate"
  }),
  json: withDefault(
    { name: "json", kind: onOff, shown: "", help: "Print JSON, one object on a line, about the connection as well" },
    false
  )
}

export const flags = flagsOf(rows)

export type Connecting = ValuesOf<typeof rows>
