// Runs once in each machine, before any function: takes away what is not the same each time, and freezes the rest, so
// that no call can leave anything to another. Its value runs one call.
(() => {
  "use strict";
  const { parse, stringify } = JSON;
  const { ownKeys, getOwnPropertyDescriptor, getPrototypeOf, apply } = Reflect;
  const freeze = Object.freeze;

  for (const name of ["Date", "Promise", "performance", "WeakRef", "FinalizationRegistry", "console", "queueMicrotask",
                      "SharedArrayBuffer", "Atomics", "gc", "print", "BigInt", "eval", "Function"]) {
    delete globalThis[name];
  }
  delete Math.random;

  // No text becomes code while a script runs: what a script does is what stands in it.
  for (const written of [() => {}, function* () {}, async () => {}, async function* () {}]) {
    const of = getPrototypeOf(written);
    if (of !== null) delete of.constructor;
  }

  // What the engine does within one call of its own is no step; so it is counted here, in elements and characters.
  const most = 10000000;
  // Made before anything is guarded: a template calls `concat`, and that would count on and on.
  const toldOfMost = `more than ${most} elements were gone through`;
  let spent = 0;
  const spend = (count) => {
    spent += count > 0 ? count : 0;
    if (!(spent <= most)) throw new RangeError(toldOfMost);
  };
  const { isArray } = Array;
  const length = (value) => (isArray(value) || typeof value === "string" ? value.length : 0);
  const list = (self) => {
    if (!isArray(self)) throw new TypeError("this is no array");
    return self.length;
  };
  const text = (self) => {
    if (typeof self !== "string") throw new TypeError("this is no string");
    return self.length;
  };
  const counted = (owner, names, cost) => {
    for (const name of names) {
      const original = owner[name];
      if (typeof original !== "function") continue;
      const guarded = { [name](...given) {
        spend(1 + cost(this, given));
        return apply(original, this, given);
      } }[name];
      Object.defineProperty(owner, name, { value: guarded });
    }
  };
  counted(Array.prototype, ["copyWithin", "every", "fill", "filter", "find", "findIndex", "findLast",
    "findLastIndex", "flat", "flatMap", "forEach", "includes", "indexOf", "join", "lastIndexOf", "map", "reduce",
    "reduceRight", "reverse", "shift", "slice", "some", "splice", "toLocaleString", "toReversed",
    "toSpliced", "toString", "unshift", "with", "values", "keys", "entries", Symbol.iterator], list);
  counted(Array.prototype, ["sort", "toSorted"], (self) => 20 * list(self));
  counted(Array.prototype, ["concat"], (self, given) => {
    let all = list(self);
    for (let at = 0; at < given.length; at++) all += length(given[at]);
    return all;
  });
  counted(Array, ["from"], (self, given) => length(given[0]));
  counted(JSON, ["parse"], (self, given) => length(given[0]));
  counted(String.prototype, ["at", "concat", "endsWith", "localeCompare", "match", "matchAll", "normalize", "search",
    "slice", "startsWith", "substring", "substr", "toLowerCase", "toUpperCase", "trim", "trimEnd", "trimStart"],
    text);
  counted(String.prototype, ["repeat", "padEnd", "padStart"], (self, given) => text(self) * (+given[0] || 0));
  counted(String.prototype, ["includes", "indexOf", "lastIndexOf", "replace", "replaceAll", "split"],
    (self, given) => text(self) * (1 + (typeof given[0] === "string" ? given[0].length / 64 : 0)));

  const seen = new Set();
  const frozen = (value) => {
    if ((typeof value !== "object" && typeof value !== "function") || value === null || seen.has(value)) return;
    seen.add(value);
    for (const key of ownKeys(value)) {
      const own = getOwnPropertyDescriptor(value, key);
      frozen(own.value);
      frozen(own.get);
      frozen(own.set);
    }
    frozen(getPrototypeOf(value));
    freeze(value);
  };
  frozen(globalThis);
  for (const hidden of [function* () {}, (function* () {})(), async () => {}, async function* () {}, [][Symbol.iterator](),
                        new Map()[Symbol.iterator](), new Set()[Symbol.iterator](), ""[Symbol.iterator](),
                        "".matchAll(/x/g)]) {
    frozen(hidden);
  }

  const plain = (key, value) => {
    const kind = typeof value;
    if (kind === "number" && !(value - value === 0)) throw new TypeError(`${value} is no number`);
    if (kind === "function" || kind === "symbol" || kind === "bigint") throw new TypeError(`a ${kind} is no value`);
    return value;
  };
  return (make, text) => {
    spent = 0;
    const made = make();
    if (typeof made !== "function") throw new TypeError("the script is no function");
    const result = made(parse(text));
    return result === undefined ? "null" : stringify(result, plain);
  };
})()
