/** A page that knows nothing of the editor but its address: it puts it into a frame. */
const { searchParams } = new URL(location.href)
const own = new URL('/', location.href)
own.searchParams.set('document', searchParams.get('document') ?? 'notes/minutes')
const token = searchParams.get('token')
if (token !== null) own.searchParams.set('token', token)

document.querySelector<HTMLAnchorElement>('[data-own-page]')!.href = own.href
own.searchParams.set('embed', '')
document.querySelector<HTMLIFrameElement>('[data-editor]')!.src = own.href
