import { assert, describe, it } from "@effect/vitest"
import { nameIn } from "../../../src/server/admission/CertificateName.ts"

describe("the name in a certificate", () => {
  it.each([
    ["DNS:worker", "worker"],
    ["DNS:worker-1.example.com, IP Address:10.0.0.1", "worker-1.example.com"],
    ["IP Address:10.0.0.1, URI:rankd:worker, DNS:other", "worker"],
    ["DNS:*.example.com, DNS:Worker", "Worker"],
    ["email:boss@example.com, URI:spiffe://x/boss, DNS:m7, DNS:-, URI:rankd:a b, DNS:ok", "ok"],
    ['othername:"x, DNS:admin", DNS:ok', "ok"],
    ['DirName:"/CN=a\\"b, DNS:admin", URI:"rankd:x\\u0000", DNS:ok', "ok"],
    [`DNS:${"x".repeat(64)}`, "x".repeat(64)],
    ["", undefined],
    ["email:boss", undefined],
    ["IP Address:10.0.0.1", undefined],
    [`DNS:${"x".repeat(65)}`, undefined],
    ['DNS:"evil, DNS:admin"', undefined],
    ['DNS:"evil\\", DNS:admin"', undefined],
    ['DNS:"worker"', undefined],
    ["URI:rankd://worker", undefined],
    ["URI:rankd:rankd:worker", undefined],
    // Node never writes these, so they contain no name.
    ['DNS:ok, DNS:"open', undefined],
    ["DNS:ok, admin", undefined],
    ["DNS:ok,DNS:admin", undefined]
  ])("%s", (subjectAltName, name) => {
    assert.strictEqual(nameIn(subjectAltName), name)
  })
})
