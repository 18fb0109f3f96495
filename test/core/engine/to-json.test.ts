import { expect, test } from 'vitest'
import * as Y from 'yjs'
import { yjsEngine } from '../../../core/engine/yjs/yjs-engine.ts'

function jsonOf(edit: (document: Y.Doc) => void) {
  const document = new Y.Doc()
  edit(document)
  return yjsEngine.toJson([Y.encodeStateAsUpdate(document)])
}

test('each root reads as what its content says it is', () => {
  const json = jsonOf((document) => {
    document.getText('text').insert(0, 'bold', { bold: true })
    document.getText('text').insertEmbed(4, { image: 'x' })
    document.getMap('map').set('n', 1)
    document.getArray('array').insert(0, ['a', [2], new Y.Map([['k', new Y.Text('t')]])])
    const element = new Y.XmlElement('p')
    element.setAttribute('class', 'c')
    document.getXmlFragment('xml').insert(0, [element, new Y.XmlText('hi')])
  })
  expect(json).toEqual({
    text: 'bold',
    map: { n: 1 },
    array: ['a', [2], { k: 't' }],
    xml: '<p class="c"></p>hi',
  })
})

test('a root with entries and items shows both', () => {
  const json = jsonOf((document) => {
    const element = document.get('element', Y.XmlElement)
    element.setAttribute('lang', 'de')
    element.insert(0, [new Y.XmlText('x')])
  })
  expect(json).toEqual({ element: { attributes: { lang: 'de' }, children: 'x' } })
})

test('what is deleted does not decide the kind of a root', () => {
  const json = jsonOf((document) => {
    document.getText('text').insert(0, 'gone')
    document.getText('text').delete(0, 4)
    document.getMap('map').set('k', 1)
    document.getMap('map').delete('k')
  })
  expect(json).toEqual({ text: null, map: {} })
})

test('values that JSON lacks get a form in it', () => {
  const json = jsonOf((document) => {
    const map = document.getMap('map')
    map.set('binary', Uint8Array.of(1, 2, 3))
    map.set('nested', { big: 2n ** 62n, nothing: undefined, infinite: Number.POSITIVE_INFINITY })
    map.set('sub', new Y.Doc({ guid: 'g' }))
    map.set('__proto__', 'plain key')
  })
  expect(json['map']).toEqual(
    JSON.parse(
      '{"binary":"AQID","nested":{"big":"4611686018427387904","nothing":null,"infinite":null},"sub":{"guid":"g"},"__proto__":"plain key"}',
    ),
  )
  expect(Object.keys(json['map'] as object)).toContain('__proto__')
})
