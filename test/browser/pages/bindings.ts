/** One editor of another maker on a document of the client's: `?binding=codemirror&relay=http://…&document=…`. */
import { EditorState } from '@codemirror/state'
import { EditorView } from '@codemirror/view'
import { Editor } from '@tiptap/core'
import Collaboration from '@tiptap/extension-collaboration'
import CollaborationCaret from '@tiptap/extension-collaboration-caret'
import StarterKit from '@tiptap/starter-kit'
import Quill from 'quill'
import { yCollab } from 'y-codemirror.next'
import { QuillBinding } from 'y-quill'
import { createClient, type Handle } from '../../../client/index.ts'

export interface BindingsPage {
  readonly handle: Handle
  pause(): void
  resume(): void
}

const { searchParams } = new URL(location.href)
const client = createClient({ url: searchParams.get('relay') ?? '' })
const handle = client.open(searchParams.get('document') ?? '')
const { doc, awareness } = handle
const place = document.getElementById('app')!
const name = searchParams.get('name') ?? ''
awareness.setLocalStateField('user', { name, color: '#0b7285', colorLight: '#0b728533' })

await handle.whenLoaded
switch (searchParams.get('binding')) {
  case 'codemirror': {
    const text = doc.getText('body')
    const extensions = [yCollab(text, awareness), EditorView.lineWrapping]
    new EditorView({ state: EditorState.create({ doc: text.toString(), extensions }), parent: place })
    break
  }
  case 'quill':
    new QuillBinding(doc.getText('body'), new Quill(place), awareness)
    break
  case 'tiptap':
    new Editor({
      element: place,
      extensions: [
        StarterKit.configure({ undoRedo: false }),
        Collaboration.configure({ document: doc, field: 'body' }),
        CollaborationCaret.configure({ provider: { awareness }, user: { name, color: '#0b7285' } }),
      ],
    })
    break
}

const page: BindingsPage = { handle, pause: () => client.pause(), resume: () => client.resume() }
Object.assign(globalThis, { page })
